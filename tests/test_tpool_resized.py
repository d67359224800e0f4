"""`tpool` while another OS thread changes its size."""

from __future__ import annotations

import sys
import threading
from _thread import start_new_thread

import pytest

import greenio
from greenio import tpool
from greenio._tpool import pool


def test_no_call_is_lost_when_another_thread_resizes_the_pool(hub_name):
    over = threading.Event()
    before = sys.getswitchinterval()

    def resize():
        count = 0
        while not over.is_set():
            tpool.set_num_threads(2 + count % 3)
            count += 1
            over.wait(0.0002)

    resizer = threading.Thread(target=resize)
    sys.setswitchinterval(1e-6)
    try:
        resizer.start()
        for number in range(400):
            with greenio.Timeout(20):
                assert tpool.execute(abs, -number) == number
    finally:
        sys.setswitchinterval(before)
        over.set()
        resizer.join()
        tpool.killall()
        # Others need as many threads as they wait in.
        tpool.set_num_threads(tpool.DEFAULT_SIZE)


@pytest.mark.parametrize("waits", [False, True])
def test_a_finalizer_in_the_middle_of_a_call_makes_another(
    hub_name, monkeypatch, waits
):
    got = []

    def start(*args):
        start_new_thread(*args)
        monkeypatch.setattr(pool, "start_new_thread", start_new_thread)
        # As a finalizer would.
        got.append(tpool.execute(abs, -1))
        if waits:
            # Meanwhile others make calls.
            greenio.spawn(lambda: got.append(tpool.execute(abs, -2))).wait()

    tpool.killall()
    monkeypatch.setattr(pool, "start_new_thread", start)
    with greenio.Timeout(20):
        got.append(tpool.execute(abs, -3))
    assert got == ([1, 2, 3] if waits else [1, 3])
    # Each worker is counted once.
    statistics = tpool.statistics()
    assert 0 < statistics.threads <= statistics.size
    tpool.killall()


def test_a_pool_that_is_replaced_in_the_middle_of_a_call_loses_nothing(
    hub_name, monkeypatch
):
    def start(*args):
        start_new_thread(*args)
        monkeypatch.setattr(pool, "start_new_thread", start_new_thread)
        tpool.set_num_threads(3)

    tpool.killall()
    monkeypatch.setattr(pool, "start_new_thread", start)
    try:
        with greenio.Timeout(20):
            assert tpool.execute(abs, -3) == 3
    finally:
        tpool.killall()
        tpool.set_num_threads(tpool.DEFAULT_SIZE)
