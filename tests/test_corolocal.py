"""`greenio.corolocal`: attributes of each green thread's own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

import greenio
from greenio import corolocal, sleep, spawn


def test_each_has_its_own(hub_name):
    local = corolocal.local()
    local.value = "main"

    def use(n):
        assert not hasattr(local, "value")
        local.value = n
        sleep(0)
        return local.value

    threads = [spawn(use, n) for n in range(5)]
    assert [thread.wait() for thread in threads] == list(range(5))
    assert local.value == "main"


def test_os_threads_have_their_own(hub_name):
    local = corolocal.local()
    local.value = "here"
    seen = []
    thread = threading.Thread(target=lambda: seen.append(hasattr(local, "value")))
    thread.start()
    thread.join()
    assert seen == [False]


def test_portals_have_their_own(run_async):
    """What is kept there by code that blocks is not another Task's."""
    local = corolocal.local()
    references = []

    class Value:
        pass

    def blocking_style():
        assert not hasattr(local, "value")
        local.value = mine = Value()
        references.append(weakref.ref(mine))
        sleep(0)
        assert local.value is mine

    async def plain_coroutine():
        return hasattr(local, "value")

    @greenio.portal
    async def through_portal():
        blocking_style()
        assert await plain_coroutine()
        assert not await asyncio.create_task(plain_coroutine())

    async def main():
        await asyncio.gather(*(through_portal() for _ in range(5)))
        assert not hasattr(local, "value")

    run_async(main)
    gc.collect()
    assert [reference() for reference in references] == [None] * 5


def test_values_go_with_the_green_thread(hub_name):
    class Value:
        pass

    local, references = corolocal.local(), []

    def use():
        local.value = Value()
        references.append(weakref.ref(local.value))

    spawn(use).wait()
    sleep(0)
    gc.collect()
    assert references[0]() is None


def test_values_go_with_the_local(hub_name):
    class Value:
        pass

    local = corolocal.local()
    local.value = Value()
    reference = weakref.ref(local.value)
    del local
    gc.collect()
    assert reference() is None


def test_subclass_is_initialised_for_each(hub_name):
    class Counter(corolocal.local):
        start = 10

        def __init__(self, step):
            self.value = self.start + step

    counter = Counter(5)
    counter.value += 1
    assert spawn(lambda: counter.value).wait() == 15
    assert counter.value == 16


def test_missing_and_deleted_attributes(hub_name):
    local = corolocal.local()
    with pytest.raises(AttributeError):
        _ = local.missing
    local.value = 1
    del local.value
    with pytest.raises(AttributeError):
        del local.value


def test_arguments_are_for_subclasses_with_an_init(hub_name):
    with pytest.raises(TypeError, match="Initialization arguments are not supported"):
        corolocal.local(1)
    with pytest.raises(TypeError, match="Initialization arguments are not supported"):
        corolocal.local(value=1)


@pytest.mark.parametrize("main", [True, False], ids=["main", "green"])
def test_an_init_that_fails_is_called_again(hub_name, main):
    calls = []

    class Session(corolocal.local):
        def __init__(self):
            calls.append(len(calls))
            if calls[-1] in (1, 2):
                raise LookupError("not yet")
            self.value = calls[-1]

    session = Session()
    assert session.value == 0

    def use():
        for _ in range(2):
            with pytest.raises(LookupError, match="not yet"):
                _ = session.value
        return session.value, session.value

    if main:
        # Of another OS thread, the greenlet that runs first.
        seen = []
        thread = threading.Thread(target=lambda: seen.append(use()))
        thread.start()
        thread.join()
    else:
        seen = [spawn(use).wait()]
    assert seen == [(3, 3)]
    assert session.value == 0


def test_the_namespace_itself_stays(hub_name):
    local = corolocal.local()
    local.value = 1
    assert local.__dict__ == {"value": 1}
    with pytest.raises(AttributeError, match="'__dict__' is read-only"):
        local.__dict__ = {}
    with pytest.raises(AttributeError, match="'__dict__' is read-only"):
        del local.__dict__
    assert local.value == 1


def test_slots_and_properties_are_shared(hub_name):
    class Sharing(corolocal.local):
        __slots__ = ("slot",)
        kept = "none"

        @property
        def prop(self):
            return Sharing.kept

        @prop.setter
        def prop(self, value):
            Sharing.kept = value

        @prop.deleter
        def prop(self):
            Sharing.kept = "deleted"

    sharing = Sharing()

    def use():
        sharing.slot = "from another"
        sharing.prop = "by another"

    spawn(use).wait()
    assert (sharing.slot, sharing.prop) == ("from another", "by another")
    assert sharing.__dict__ == {}
    del sharing.slot
    del sharing.prop
    assert not hasattr(sharing, "slot")
    assert sharing.prop == "deleted"


def test_idents_differ(hub_name):
    idents = {spawn(corolocal.get_ident).wait(), corolocal.get_ident()}
    assert len(idents) == 2
    assert corolocal.get_ident() == corolocal.get_ident()
