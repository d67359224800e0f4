"""Joining a thread of a patched program, by several at once."""

from __future__ import annotations

import pytest

from _fresh import run


@pytest.mark.parametrize("how", ["t.join()", "t.join(20)", "t.join(0) or t.join(20)"])
def test_several_join_at_once(loop, how):
    run(
        f"""
        import greenio; greenio.monkey_patch()
        import threading

        gate = threading.Event()
        t = threading.Thread(target=gate.wait)
        t.start()
        joined = []

        def join():
            {how}
            assert not t.is_alive()
            joined.append(1)

        green = [greenio.spawn(join) for _ in range(3)]
        threads = [threading.Thread(target=join) for _ in range(3)]
        for thread in threads:
            thread.start()
        greenio.sleep(0)
        killed = greenio.spawn(join)
        greenio.sleep(0)
        killed.kill()
        gate.set()
        for joiner in green:
            joiner.wait()
        for thread in threads:
            thread.join()
        assert len(joined) == 6
        t.join()
        assert not t.is_alive()
        """,
        hub=loop,
    )


def test_a_joiner_is_killed_in_the_turn_in_which_the_thread_ends(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import threading

        gate = threading.Event()
        t = threading.Thread(target=gate.wait)
        t.start()
        joiners = [greenio.spawn(t.join) for _ in range(3)]
        greenio.sleep(0)
        greenio.spawn(gate.set)
        for _ in range(3):
            greenio.sleep(0)
            joiners[0].kill()
        for joiner in joiners[1:]:
            joiner.wait()
        assert not t.is_alive()
        """,
        hub=loop,
    )


def test_an_interrupted_join_leaves_the_thread_alive(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import threading

        gate = threading.Event()
        t = threading.Thread(target=gate.wait)
        t.start()
        for _ in range(3):
            with greenio.Timeout(0.01, False):
                t.join()
            assert t.is_alive()
            assert t in threading.enumerate()
        gate.set()
        t.join()
        assert not t.is_alive()
        """,
        hub=loop,
    )


def test_an_interrupted_join_of_the_main_thread_leaves_it_alive(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import threading

        main = threading.main_thread()

        def join():
            with greenio.Timeout(0.01, False):
                main.join()
            assert main.is_alive()

        for _ in range(2):
            greenio.spawn(join).wait()
        threads = [
            threading.Thread(target=lambda: (main.join(), print("main has ended")))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        """,
        hub=loop,
    )
