"""gunicorn's workers in short; tests/consumers has the rest."""

from __future__ import annotations

import signal

import pytest

from _fresh import run
from _gunicorn import Gunicorn

APP = """
import asyncio, os, time
import greenio
from asgiref.sync import async_to_sync

loops = set()

async def note():
    loops.add(id(asyncio.get_running_loop()))
    await asyncio.sleep(0)
    return len(loops)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise ValueError("on purpose")
    if path == "/sleep":
        time.sleep(0.3)
    start_response("200 OK", [("Content-Type", "text/plain"), ("x-lower", "1")])
    if path == "/loops":
        return [str(greenio.await_(note())).encode()]
    if path == "/asgiref":
        return [str(async_to_sync(note)()).encode()]
    if path == "/scheme":
        return [environ["wsgi.url_scheme"].encode()]
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def served(tmp_path, loop):
    server = Gunicorn(tmp_path, loop, APP, "--access-logfile", "-", "--keep-alive", "5")
    yield server.started()
    server.kill()


@pytest.mark.slow  # An interpreter that imports gunicorn, patched.
def test_requests_run_in_green_threads_with_gunicorns_settings(served):
    response, body = served.respond("/")
    assert int(body) in served.workers()
    assert response.getheader("Server") == "gunicorn"
    assert served.ask("/loops") == served.ask("/loops") == "1"
    assert served.ask("/asgiref") == "1"
    assert served.ask("/scheme", headers={"X-Forwarded-Proto": "https"}) == "https"
    assert served.respond("/fail")[0].status == 500
    old = served.workers()
    served.send_signal(signal.SIGHUP)
    served.until(lambda: served.workers() and not set(old) & set(served.workers()))
    log = served.end()
    assert "ValueError: on purpose" in log
    assert '"GET /scheme HTTP/1.1" 200 5 ' in log
    assert served.process.returncode == 0


WATCHED = """
import asyncio, faulthandler, logging
import greenio

records = []
logging.getLogger("greenio.debug").addFilter(lambda record: records.append(record) or True)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/hog":
        while not records:
            pass
    start_response("200 OK", [])
    debug = asyncio.get_running_loop().get_debug()
    seen = [record.getMessage().split(" ")[0] for record in records[:1]]
    return [f"{debug} {faulthandler.is_enabled()} {seen}".encode()]

left = greenio.spawn(greenio.event.Event().wait)
"""


@pytest.mark.slow
def test_workers_are_watched_by_option(tmp_path, loop):
    python = ("-m", "greenio", "--monitor=0.05", "--debug", "gunicorn")
    server = Gunicorn(tmp_path, loop, WATCHED, python=python)
    try:
        server.started()
        assert server.ask("/") == "True True []"
        assert server.ask("/hog") == "True True ['green']"
        log = server.end()
    finally:
        server.kill()
    assert "has been blocking the loop for " in log
    assert "left behind at the end of the program: <GreenThread Event.wait," in log


def test_without_gunicorn_it_says_what_to_install():
    assert (
        run(
            """if True:
        import sys
        sys.modules["gunicorn"] = None
        try:
            import greenio.workers.gunicorn
        except ImportError as error:
            print(error)
        """
        )
        == "greenio.workers.gunicorn needs gunicorn: pip install gunicorn\n"
    )


def test_no_worker_is_forked_while_a_thread_is_being_taken_apart():
    """What it has locked then would be locked for ever in the worker, which hangs at its end."""
    out = run(
        """
        import os, sys, threading, time
        import greenio.workers.gunicorn

        # The destructor of what is local to a thread runs when Python has done with the
        # thread: as greenlet's own does, and for longer.
        import ctypes
        libc = ctypes.CDLL(None)
        ended, key = [], ctypes.c_uint()
        # Called without the interpreter: sleeps so many microseconds.
        assert libc.pthread_key_create(ctypes.byref(key), libc.usleep) == 0

        def use():
            libc.pthread_setspecific(key, ctypes.c_void_p(200_000))

        if not os.path.isdir("/proc/self/task"):
            print("fine")
            sys.exit()
        for _ in range(3):
            thread = threading.Thread(target=use)
            begun = time.monotonic()
            thread.start()
            # Up to Python 3.12 it does not wait for the destructor.
            thread.join()
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            assert time.monotonic() - begun > 0.1
            assert len(os.listdir("/proc/self/task")) == 1
        print("fine")
        """
    )
    assert out == "fine\n"
