"""`tpool` while another OS thread changes its size."""

from __future__ import annotations

import sys
import threading

import greenio
from greenio import tpool


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
