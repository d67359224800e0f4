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


def test_idents_differ(hub_name):
    idents = {spawn(corolocal.get_ident).wait(), corolocal.get_ident()}
    assert len(idents) == 2
    assert corolocal.get_ident() == corolocal.get_ident()
