"""oslo.privsep's daemon: ``privileged.py FORK|ROOTWRAP``, forked or started by a command."""

import eventlet

eventlet.monkey_patch()

import logging
import os
import sys
import time
from pathlib import Path

from eventlet import tpool
from oslo_config import cfg
from oslo_privsep import comm, priv_context
from privileged_calls import add, big, context, fail, meet, run, too_long, who

METHOD = priv_context.Method[sys.argv[1]]
# What sudo runs elsewhere.
HELPER = (
    f"{sys.executable} -c 'import oslo_privsep.daemon as d; d.helper_main()'"
    " --config-file privileged.conf"
)


def main():
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    settings = Path("privileged.conf")
    settings.write_text(
        f"[example_privileged]\nhelper_command = {HELPER}\nthread_pool_size = 8\n"
    )
    cfg.CONF(["--config-file", str(settings)], project="example")
    # The helper imports the calls.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    )
    # What the parent is doing meanwhile must not hurt the daemon.
    busy = [eventlet.spawn(eventlet.sleep, 1000) for _ in range(10)]
    tpool.execute(time.sleep, 0.01)
    ticks = []
    busy.append(eventlet.spawn(tick, ticks))
    context.start(METHOD)
    pool = eventlet.GreenPool(100)
    assert list(pool.starmap(add, [(n, n) for n in range(200)])) == [
        2 * n for n in range(200)
    ]
    pid, _, lock = who()
    assert pid != os.getpid() and os.getpgid(pid) == os.getpgid(0)
    assert lock == "_thread", lock
    # Several at once: the daemon's threads are OS threads again.
    meetings = [eventlet.spawn(meet) for _ in range(8)]
    assert [each.wait() for each in meetings] == [True] * 8
    assert ticks
    for text in ("one", "two"):
        try:
            fail(text)
        except LookupError as error:
            assert error.args == (text,)
        else:
            raise AssertionError("no error")
    assert run("echo", "from a child") == "from a child\n"
    assert len(big(2_000_000)) == 2_000_000
    try:
        too_long()
    except comm.PrivsepTimeout:
        pass
    else:
        raise AssertionError("no timeout")
    assert add("a", "b") == "ab"
    # A daemon that is killed is replaced for the next call.
    context.stop()
    eventlet.sleep(0.05)
    context.start(METHOD)
    again, *_ = who()
    assert again not in (pid, os.getpid())
    # The parent is still patched.
    assert time.sleep.__module__ != "time"
    for each in busy:
        each.kill()
    context.stop()
    print("done")


def tick(ticks):
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)


if __name__ == "__main__":
    main()
