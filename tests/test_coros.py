"""`greenio.coros` and what of eventlet there is not."""

from __future__ import annotations

import importlib

import pytest

from _fresh import run
from greenio import coros, sleep, spawn


def test_metaphore_waits_for_nothing_left(hub_name):
    work = coros.metaphore()
    work.wait()
    work.inc()
    work.inc(2)
    assert work.counter == 3
    waiting = spawn(work.wait)
    work.dec(2)
    sleep(0)
    assert not waiting.dead
    work.dec()
    waiting.wait()
    work.wait()
    # Again, from the start.
    work.inc()
    again = spawn(work.wait)
    sleep(0)
    assert not again.dead
    work.dec()
    again.wait()


def test_metaphore_refuses_what_does_not_count(hub_name):
    work = coros.metaphore()
    for call in (lambda: work.inc(0), lambda: work.inc(-1), work.dec):
        with pytest.raises(AssertionError, match="counts"):
            call()
    work.inc()
    with pytest.raises(AssertionError, match="by 1 to 1 now, not by 2"):
        work.dec(2)
    assert "counter=1" in repr(work)


def test_metaphore_for_coroutines(run_async):
    async def main():
        work = coros.metaphore()
        await work.wait_async()
        work.inc()
        spawn(work.dec)
        await work.wait_async()
        return work.counter

    assert run_async(main) == 0


def test_zipkin_is_left_out_with_a_reason(loop):
    with pytest.raises(ImportError, match="OpenTelemetry"):
        importlib.import_module("greenio.zipkin")
    run(
        """
        import greenio
        greenio.install_as_eventlet()
        try:
            import eventlet.zipkin
        except ImportError as error:
            assert "OpenTelemetry" in str(error)
        else:
            raise AssertionError
        import eventlet.coros, eventlet.dagpool
        assert eventlet.dagpool is greenio.dagpool
        """,
        hub=loop,
    )
