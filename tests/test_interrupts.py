"""Interrupts, signal handlers and finalizers in the middle of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

import _fresh

INJECTION = str(Path(__file__).parent / "_injection.py")


ROOMS = ("_kernel", "_reactor", "_loop", "_sync", "_greenthread")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["owned", "signalled", "attached", pytest.param("fresh", marks=pytest.mark.stress)],
)
def test_an_interrupt_at_any_place_of_the_engine(hub_name, kind):
    """The hub works afterwards, every `finally` ran, and it arrived exactly once."""
    rooms = ROOMS if kind in ("owned", "signalled") else ROOMS[:3]
    arguments = {"PYTHONWARNINGS": "default"}
    done = _fresh.python(INJECTION, kind, *rooms, hub=hub_name, **arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert int(done.stdout) > 100


SIGNALS = """
    import faulthandler, random, signal, sys
    import greenio
    from greenio import queue

    times = int(sys.argv[1])
    faulthandler.dump_traceback_later(30 + times / 20, exit=True)
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def busy():
        while True:
            greenio.sleep(0)

    def pairs(there, back):
        while True:
            back.put(there.get())

    def resting():
        while True:
            greenio.sleep(0.0003)

    threads = []
    arrived = 0
    for _ in range(times):
        try:
            threads = [thread for thread in threads if not thread.dead]
            while len(threads) < 20:
                there, back = queue.Queue(), queue.Queue()
                there.put(1)
                threads.append(greenio.spawn(busy))
                threads.append(greenio.spawn(resting))
                threads.append(greenio.spawn(pairs, there, back))
                threads.append(greenio.spawn(pairs, back, there))
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
            greenio.sleep(30)
        except KeyboardInterrupt:
            arrived += 1
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert greenio.spawn(int).wait() == 0
                break
            except KeyboardInterrupt:
                arrived += 1
    for thread in threads:
        thread.kill()
    assert times <= arrived <= 2 * times, arrived
    print("ok")
"""


@pytest.mark.slow
def test_many_interrupts_leave_the_hub_alive(hub_name):
    assert _fresh.run(SIGNALS, "200", hub=hub_name) == "ok\n"


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_thousands_of_interrupts_leave_the_hub_alive(hub_name, monkeypatch):
    monkeypatch.setattr(_fresh, "PATIENCE", 800)
    assert _fresh.run(SIGNALS, "60000", hub=hub_name) == "ok\n"


@pytest.mark.slow
def test_an_interrupt_in_a_finalizer_arrives_once(hub_name):
    """Where the interpreter would print it, and forget it."""
    assert (
        _fresh.run(
            """
            import os, signal, weakref
            import greenio

            class Gone:
                def __del__(self):
                    os.kill(os.getpid(), signal.SIGINT)
                    for _ in range(3):
                        int()
                    finalized.append(1)

            def drop():
                Gone()
                for _ in range(3):
                    int()

            finalized = []
            arrived = 0
            for wait in (drop, lambda: greenio.spawn(drop).wait()):
                for _ in range(100):
                    try:
                        greenio.sleep(0)
                        wait()
                        greenio.sleep(20)
                    except KeyboardInterrupt:
                        arrived += 1
            print(arrived, len(finalized))
            """,
            hub=hub_name,
        )
        == "200 200\n"
    )


@pytest.mark.parametrize(
    ("running", "line"),
    [
        ("greenio.spawn(compute)", "in compute\n"),
        ("greenio.spawn(greenio.sleep, 30)", "in main\n"),
        ("compute()", "in compute\n"),
    ],
)
def test_the_traceback_of_an_interrupt_has_the_line_that_was_running(
    hub_name, running, line
):
    outcome = _fresh.run(
        f"""
        import os, signal, threading, time, traceback
        import greenio

        def compute():
            begun.set()
            while not over:
                pass

        def interrupt():
            begun.wait(0.2)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        def main():
            try:
                greenio.sleep(0)
                threading.Thread(target=interrupt).start()
                {running}
                greenio.sleep(30)
            except KeyboardInterrupt:
                print("".join(traceback.format_exc()))

        over = False
        begun = threading.Event()
        main()
        """,
        hub=hub_name,
    )
    assert line in outcome
    assert "interrupts.py" not in outcome


def test_the_handler_passes_for_pythons_own_and_goes_with_the_hub(hub_name):
    assert (
        _fresh.run(
            """
            import signal
            import greenio
            from greenio import hubs
            from greenio._kernel.current import close_thread_hub

            def own(number, frame):
                pass

            default = signal.default_int_handler
            signal.signal(signal.SIGTERM, own)
            greenio.sleep(0)
            print(signal.getsignal(signal.SIGINT) == default)
            print(signal.getsignal(signal.SIGTERM) is own)
            # As a program does that wants something else for a while.
            before = signal.signal(signal.SIGINT, own)
            greenio.sleep(0)
            print(signal.getsignal(signal.SIGINT) is own)
            signal.signal(signal.SIGINT, before)
            close_thread_hub()
            print(signal.getsignal(signal.SIGINT) is default)
            """,
            hub=hub_name,
        )
        == "True\n" * 4
    )


HANDLERS = """
    import faulthandler, logging, signal, sys
    import greenio
    greenio.monkey_patch()
    import threading
    from greenio import queue

    times = int(sys.argv[1])
    faulthandler.dump_traceback_later(30 + times / 50, exit=True)
    log = logging.getLogger("signals")
    log.setLevel(10)
    log.propagate = False
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append(record)

    log.addHandler(Handler())
    items = queue.Queue()
    handled = 0

    def handler(number, frame):
        global handled
        assert threading.current_thread() is threading.main_thread()
        log.info("signal %d", number)
        items.put(handled)
        handled += 1

    signal.signal(signal.SIGALRM, handler)
    assert signal.getsignal(signal.SIGALRM) is handler
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)

    def logging_thread():
        for _ in range(times):
            log.info("thread")
            greenio.sleep(0)

    thread = threading.Thread(target=logging_thread)
    thread.start()
    got = [items.get(timeout=20) for _ in range(times)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    thread.join()
    # One handler may be interrupted by the next.
    assert sorted(got)[0] == 0 and len(got) == times
    print("ok")
"""


@pytest.mark.slow
def test_a_signal_handler_may_log_and_put_into_a_queue(hub_name):
    assert _fresh.run(HANDLERS, "300", hub=hub_name) == "ok\n"


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_signal_handlers_that_log_for_long(hub_name, monkeypatch):
    monkeypatch.setattr(_fresh, "PATIENCE", 800)
    assert _fresh.run(HANDLERS, "30000", hub=hub_name) == "ok\n"


FINALIZERS = """
    import faulthandler, gc, logging, sys
    import greenio
    greenio.monkey_patch()
    from greenio import event, patcher, queue, semaphore

    times = int(sys.argv[1])
    faulthandler.dump_traceback_later(30 + times / 5, exit=True)
    real = patcher.original("threading")
    clock = patcher.original("time")
    gc.set_threshold(7, 5, 5)
    log = logging.getLogger("finalizers")
    log.setLevel(10)
    log.propagate = False

    class Handler(logging.Handler):
        def emit(self, record):
            if record.msg == "thread":
                clock.sleep(0)

    log.addHandler(Handler())
    over = False

    def thread():
        while not over:
            log.info("thread")

    logger = real.Thread(target=thread)
    logger.start()

    class Gone:
        def __init__(self):
            self.me = self

        def __del__(self):
            log.info("gone")

    for _ in range(times):
        items, permits = queue.Queue(1), semaphore.Semaphore(1)
        done = event.Event()

        def put():
            for number in range(30):
                with permits:
                    Gone()
                items.put(number)
            done.send(1)

        putter = greenio.spawn(put)
        for number in range(30):
            assert items.get() == number
            with permits:
                Gone()
        assert done.wait() == 1
        putter.wait()
    over = True
    logger.join()
    print("ok")
"""


@pytest.mark.slow
def test_a_finalizer_may_wait_in_the_middle_of_a_primitive(hub_name):
    """It wants a lock that a real thread holds, and that one wants the mutex."""
    assert _fresh.run(FINALIZERS, "30", hub=hub_name) == "ok\n"


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_finalizers_that_wait_for_long(hub_name, monkeypatch):
    monkeypatch.setattr(_fresh, "PATIENCE", 800)
    assert _fresh.run(FINALIZERS, "1500", hub=hub_name) == "ok\n"


def test_what_a_handler_raises_goes_to_the_main_program(hub_name):
    """Whichever green thread was running; that one goes on."""
    assert (
        _fresh.run(
            """
            import greenio
            greenio.monkey_patch()
            import os, signal, threading, time

            class Reload(Exception):
                pass

            def handler(number, frame):
                assert threading.current_thread() is threading.main_thread()
                raise Reload

            def worker():
                assert threading.current_thread() is not threading.main_thread()
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(1000):
                    pass
                went_on.append(threading.current_thread() is thread)

            went_on = []
            signal.signal(signal.SIGUSR1, handler)
            thread = threading.Thread(target=worker)
            try:
                thread.start()
                time.sleep(20)
            except Reload:
                print("raised")
            thread.join()
            assert went_on == [True]
            """,
            hub=hub_name,
        )
        == "raised\n"
    )


def test_handlers_from_before_the_patch_run_for_the_main_thread(hub_name):
    assert (
        _fresh.run(
            """
            import os, signal, threading

            class Reload(Exception):
                pass

            def handler(number, frame):
                assert threading.current_thread() is threading.main_thread()
                raise Reload

            signal.signal(signal.SIGUSR1, handler)
            import greenio
            greenio.monkey_patch()
            assert signal.getsignal(signal.SIGUSR1) is handler
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            import time

            def worker():
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(1000):
                    pass
                went_on.append(threading.current_thread() is thread)

            went_on = []
            thread = threading.Thread(target=worker)
            try:
                thread.start()
                time.sleep(20)
            except Reload:
                print("raised")
            thread.join()
            assert went_on == [True]
            """,
            hub=hub_name,
        )
        == "raised\n"
    )


def test_exits_of_a_handler_end_the_program_with_their_code(hub_name):
    done = _fresh.python(
        "-c",
        "import greenio; greenio.monkey_patch()\n"
        "import os, signal, sys, threading, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "threading.Thread(target=lambda: os.kill(os.getpid(), 15)).start()\n"
        "time.sleep(20)\n",
        hub=hub_name,
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_an_interrupt_of_a_green_thread_arrives_once(hub_name):
    assert (
        _fresh.run(
            """
            import greenio

            def interrupted():
                raise KeyboardInterrupt

            arrived = 0
            for wait in (lambda: greenio.spawn(interrupted).wait(), greenio.sleep):
                try:
                    wait()
                    greenio.sleep(0.01)
                except KeyboardInterrupt:
                    arrived += 1
            print(arrived)
            """,
            hub=hub_name,
        )
        == "1\n"
    )
