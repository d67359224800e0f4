"""`greenio.testing`: the pytest plugin, run by pytest itself, and the unittest case."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

import pytest

import greenio
from _support import end_hub
from greenio import hubs
from greenio.testing import (
    GreenTestCase,
    LeakCheck,
    Sequencer,
    VirtualClockLoop,
    wait_all_parked,
)

# A session of pytest in a process of its own, without this one's conftest and settings.
_OPTIONS = ("-p", "no:cacheprovider", "-p", "no:randomly", "-rfEs", "-W", "error")
# Instead of all that is installed, which takes longer than the tests.
_PLUGINS = ("-p", "greenio._testing.plugin", "-p", "pytest_asyncio.plugin")


@pytest.fixture
def session(tmp_path):
    """Run pytest on a test file; return what it prints."""

    def run(text, *options, ini="", passes=None, autoload=False):
        (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = strict\n"
            f"asyncio_default_fixture_loop_scope = function\n{ini}"
        )
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", *_OPTIONS),
                *(() if autoload else _PLUGINS),
                *(*options, "test_it.py"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            env=os.environ
            | ({} if autoload else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        )
        if passes is not None:
            assert f"{passes} passed" in done.stdout, done.stdout + done.stderr
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


_BEGIN = """
import asyncio
import socket
import time
import pytest
import greenio
from greenio import hubs
"""


def test_marked_tests_run_in_a_green_thread_on_a_hub_of_their_own(session):
    session(
        _BEGIN
        + """
seen = []

@pytest.fixture
def queue(hub):
    queue = greenio.Queue()
    greenio.spawn(queue.put, "from the fixture")
    greenio.sleep(0)
    yield queue
    greenio.sleep(0)
    assert hub is hubs.get_hub()

@pytest.mark.greenio
def test_one(queue, hub):
    assert type(greenio.getcurrent()).__name__ == "GreenThread"
    assert queue.get() == "from the fixture"
    seen.append(hub)

@pytest.mark.greenio
class TestClass:
    @pytest.mark.parametrize("number", [1, 2])
    def test_two(self, hub, number):
        assert hub not in seen
        assert greenio.spawn(lambda: number).wait() == number

def test_plain():
    import greenlet
    assert type(greenlet.getcurrent()) is greenlet.greenlet
""",
        passes=4,
    )


# A test of each kind; what comes before or after it may be of any.
_KINDS = {
    "green": """
def test_{number}():
    assert type(greenio.getcurrent()).__name__ == "GreenThread"
    greenio.sleep(0)
""",
    "asyncio": """
@pytest.mark.asyncio
async def test_{number}():
    await asyncio.sleep(0)
    assert await greenio.spawn(lambda: 3) == 3
""",
    "anyio": """
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_{number}(anyio_backend):
    async with anyio.create_task_group() as group:
        group.start_soon(asyncio.sleep, 0)
    assert await greenio.spawn(lambda: 3) == 3
""",
}


def test_beside_pytest_asyncio_and_anyio_in_every_order(session):
    order = [kind for kinds in itertools.permutations(_KINDS) for kind in kinds]
    tests = [_KINDS[kind].format(number=number) for number, kind in enumerate(order)]
    text = "\n".join([_BEGIN, "import anyio", *tests])
    session(text, ini="greenio_mode = auto\n", passes=len(order), autoload=True)


def test_on_both_loops(session):
    pytest.importorskip("uvloop")
    text = (
        _BEGIN
        + """
@pytest.mark.greenio
def test_it(greenio_loop, hub):
    module = type(hub.loop).__module__.partition(".")[0]
    assert module == greenio_loop
    print("ran on", module)

@pytest.mark.greenio(loop="uvloop")
def test_marked(hub):
    assert type(hub.loop).__module__ == "uvloop"

@pytest.mark.greenio
def test_clock(virtual_clock):
    greenio.sleep(86400)
"""
    )
    out = session(text, "--greenio-loop=all", "-s", passes=4)
    assert out.count("ran on asyncio") == out.count("ran on uvloop") == 1
    session(text, ini="greenio_loop = uvloop\n", passes=3)


def test_the_virtual_clock(session):
    out = session(
        _BEGIN
        + """
@pytest.mark.greenio
def test_a_day(virtual_clock):
    began = time.monotonic()
    with greenio.Timeout(2 * 86400):
        greenio.sleep(86400)
        greenio.await_(asyncio.sleep(100))
    assert virtual_clock.time() == 1000 + 86400 + 100

@pytest.mark.greenio
def test_for_ever(virtual_clock):
    greenio.Queue().get()
"""
    )
    assert "1 failed, 1 passed" in out
    assert "DeadlockError: This would wait for ever" in out
    assert "waits for the end of green thread of test_for_ever" in out


@pytest.mark.parametrize("how", ["fixture", "setting"])
def test_leaks_fail_their_test_by_name(session, how):
    fixture = ", no_leaks" if how == "fixture" else ""
    out = session(
        _BEGIN
        + f"""
def forgotten():
    greenio.sleep(1000)

@pytest.mark.greenio
def test_thread(hub{fixture}):
    greenio.spawn(forgotten)
    greenio.sleep(0)

@pytest.mark.greenio
def test_descriptor(hub{fixture}):
    globals().update(kept=socket.socket())

@pytest.mark.greenio
def test_timer(hub{fixture}):
    hub.schedule_call_global(60, forgotten)

@pytest.mark.greenio
def test_timeout(hub{fixture}):
    globals().update(limit=greenio.Timeout(60))

async def unfinished():
    await asyncio.sleep(1000)

@pytest.mark.greenio
def test_task(hub{fixture}):
    hub.loop.create_task(unfinished(), name="wanderer")
    greenio.sleep(0)

@pytest.mark.greenio
def test_clean(hub{fixture}):
    greenio.await_(hub.loop.create_task(asyncio.sleep(0)))
    greenio.spawn(int).wait()
    with socket.socket(): pass
    greenio.with_timeout(10, greenio.sleep, 0)
""",
        ini="greenio_no_leaks = true\n" if how == "setting" else "",
    )
    assert "green thread that has not ended: <GreenThread forgotten" in out
    assert "descriptor that is not closed: " in out
    assert "timer that is not cancelled: a call of forgotten" in out
    assert "timer that is not cancelled: <Timeout at " in out
    assert "task that has not ended: wanderer, unfinished" in out
    assert "6 passed, 5 errors" in out
    for name in ("thread", "descriptor", "timer", "timeout", "task"):
        assert f"ERROR test_it.py::test_{name}" in out


def test_what_fails_unseen_fails_its_test(session):
    out = session(
        _BEGIN
        + """
def fails():
    raise LookupError("lost")

@pytest.mark.greenio
def test_unseen():
    greenio.spawn(fails)
    greenio.sleep(0)

@pytest.mark.greenio
def test_seen():
    with pytest.raises(LookupError):
        greenio.spawn(fails).wait()

@pytest.mark.greenio
def test_expected(unseen_failures):
    greenio.spawn(fails)
    greenio.sleep(0)
    assert str(unseen_failures[0]["exception"]) == "lost"
    unseen_failures.clear()

@pytest.mark.greenio
def test_skip():
    pytest.skip("as ever")
"""
    )
    assert "1 failed, 2 passed, 1 skipped" in out
    assert "failed while nobody waited for it" in out
    assert "LookupError: lost" in out
    assert "in <GreenThread fails, failed at" in out


def test_who_blocks_the_loop_fails_the_test(session):
    out = session(
        _BEGIN
        + """
@pytest.mark.greenio
@pytest.mark.parametrize("no_blocking", [0.05], indirect=True)
def test_it(no_blocking):
    began = time.monotonic()
    while not no_blocking and time.monotonic() < began + 20:
        pass
"""
    )
    assert "1 passed, 1 error" in out
    assert "the loop was blocked" in out


def test_what_is_marked_wrongly_says_so(session):
    out = session("import pytest\n@pytest.mark.greenio\nasync def test_it(): pass")
    assert "use pytest.mark.asyncio" in out
    out = session("def test_it(virtual_clock): pass")
    assert "mark test_it with pytest.mark.greenio" in out


def test_settings_are_looked_at(session):
    out = session("def test_it(): pass", ini="greenio_mode = always\n")
    assert "greenio_mode is strict or auto, not 'always'" in out
    out = session("def test_it(): pass", ini="greenio_loop = trio\n")
    assert "greenio_loop is asyncio, uvloop or all, not 'trio'" in out


def test_turns_as_a_fixture(session):
    session(
        """
        import pytest
        import greenio


        @pytest.mark.greenio
        def test_it(sequencer):
            order = []

            def take(number):
                with sequencer(number):
                    order.append(number)

            greenio.joinall([greenio.spawn(take, number) for number in (2, 0, 1)])
            assert order == [0, 1, 2]
        """,
        passes=1,
    )


# -- without pytest -------------------------------------------------------------------------


def _run_case(case):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def test_the_unittest_case():
    class Case(GreenTestCase):
        greenio_no_leaks = True

        def setUp(self):
            self.queue = greenio.Queue(0)

        def test_passes(self):
            greenio.spawn(self.queue.put, 1)
            assert self.queue.get() == 1

        def test_leaks(self):
            greenio.spawn(self.queue.get)
            greenio.sleep(0)

        def test_fails_unseen(self):
            greenio.spawn(int, "x")
            greenio.sleep(0)

        def test_skips(self):
            self.skipTest("as ever")

    class Virtual(GreenTestCase):
        greenio_loop = VirtualClockLoop

        def test_a_day(self):
            greenio.sleep(86400)
            assert hubs.get_hub().loop.time() == 1000 + 86400

    result = _run_case(Case)
    assert result.testsRun == 4
    assert not result.errors
    assert len(result.skipped) == 1
    messages = {test.id().rpartition(".")[2]: text for test, text in result.failures}
    assert messages.keys() == {"test_leaks", "test_fails_unseen"}
    assert "green thread that has not ended" in messages["test_leaks"]
    assert "failed while nobody waited for it" in messages["test_fails_unseen"]
    assert _run_case(Virtual).wasSuccessful()


def test_a_sequencer_orders_green_threads_and_coroutines(hub_name):
    sequencer, order = Sequencer(), []

    def green():
        with sequencer(1):
            order.append("green")

    async def coroutine():
        async with sequencer(0):
            order.append("coroutine")
        async with sequencer(2):
            order.append("coroutine again")

    thread = greenio.spawn(green)
    greenio.await_(coroutine())
    thread.wait()
    assert order == ["coroutine", "green", "coroutine again"]
    with pytest.raises(ValueError, match="was used already"):
        sequencer(1)
    with pytest.raises(ValueError, match="from 0"):
        sequencer(-1)


def test_waiting_until_all_are_parked(hub_name):
    queue, reached = greenio.Queue(), []

    async def coroutine():
        for _ in range(5):
            await asyncio.sleep(0)
        reached.append("coroutine")

    def works(steps):
        for _ in range(steps):
            greenio.sleep(0)
        reached.append(steps)
        queue.get()

    threads = [greenio.spawn(works, steps) for steps in (0, 5, 40)]
    thread = greenio.spawn(greenio.await_, coroutine())
    wait_all_parked()
    assert len(reached) == 4
    for _ in threads:
        queue.put(None)
    greenio.joinall([*threads, thread])


def test_waiting_for_a_cushion(virtual_loop):
    woken = []
    greenio.spawn_after(0.5, woken.append, 1)
    wait_all_parked()
    assert not woken
    wait_all_parked(cushion=1)
    assert woken


def test_a_leak_check_sees_only_what_came_later(hub_name):
    before = greenio.spawn(greenio.sleep, 100)
    with socket.socket():
        check = LeakCheck(hubs.get_hub())
        assert not check.leaks()
        assert str(check.leaks()) == "nothing"
        thread = greenio.spawn(greenio.Event().wait)
        greenio.sleep(0)
        leaks = check.leaks()
        assert len(leaks.green_threads) == 1
        assert not leaks.descriptors
    thread.kill()
    before.kill()


def test_the_clock_waits_in_earnest_for_other_os_threads():
    hubs.use_hub(VirtualClockLoop)
    try:
        assert greenio.tpool.execute(sum, [1, 2]) == 3
        with pytest.raises(ValueError, match="0 or more"):
            hubs.get_hub().loop.advance(-1)
        hubs.get_hub().loop.advance(5)
        assert hubs.get_hub().loop.time() >= 1005
    finally:
        end_hub()
        hubs.use_hub()


def test_the_tests_of_the_guide(session):
    guide = Path(__file__).parent.parent / "docs/howto/testing.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    session("\n".join(blocks), passes=4)
