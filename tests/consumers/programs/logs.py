"""oslo.log from green threads, eventlet's pool of OS threads, and plain OS threads at once."""

import eventlet

eventlet.monkey_patch()

import re
import traceback
from pathlib import Path

from eventlet import patcher, tpool
from oslo_config import cfg
from oslo_context import context
from oslo_log import log

FILE = "service.log"
GREEN, NATIVE, LINES = 20, 6, 60
CONF = cfg.CONF
log.register_options(CONF)
CONF(["--log-file", FILE, "--debug"], project="example")
log.setup(CONF, "example")
LOG = log.getLogger("example")
ticks = 0


def ticking():
    global ticks
    while True:
        ticks += 1
        eventlet.sleep(0)


def green(number):
    context.RequestContext(request_id=f"req-green-{number}")
    for line in range(LINES):
        LOG.info("green %s %s", number, line)
        if line % 7 == 0:
            eventlet.sleep(0)
    try:
        raise LookupError(f"green {number}")
    except LookupError:
        LOG.exception("failed green %s", number)


def native(kind, number):
    for line in range(LINES):
        LOG.debug("%s %s %s", kind, number, line)


def plain(number):
    try:
        native("plain", number)
    except BaseException:
        traceback.print_exc()
        failed.append(number)


failed = []
ticker = eventlet.spawn(ticking)
greens = [eventlet.spawn(green, number) for number in range(GREEN)]
pooled = [
    eventlet.spawn(tpool.execute, native, "pooled", number) for number in range(NATIVE)
]
Thread = patcher.original("threading").Thread
plains = [Thread(target=plain, args=(number,)) for number in range(NATIVE)]
for each in plains:
    each.start()
for each in greens + pooled:
    each.wait()
for each in plains:
    tpool.execute(each.join)
ticker.kill()
assert not failed, failed
assert ticks > 10, ticks

lines = Path(FILE).read_text().splitlines()
said = re.findall(r" (green|pooled|plain) (\d+) (\d+)\b", "\n".join(lines))
for kind, count in (("green", GREEN), ("pooled", NATIVE), ("plain", NATIVE)):
    for number in range(count):
        mine = [int(n) for k, who, n in said if (k, int(who)) == (kind, number)]
        assert mine == [*range(LINES)], (kind, number, mine)
assert sum(" failed green " in line for line in lines) == GREEN
# The context of each green thread is in its lines, and in nobody else's.
for line in lines:
    if " INFO example [" in line:
        wanted = line.split(" green ")[1].split()[0]
        assert f" req-green-{wanted} " in line, line
# Who asks for the lock twice has it, and others wait for it in their turn.
handler = next(h for h in log.getLogger(None).logger.handlers if h.lock is not None)
order = []
with handler.lock, handler.lock:
    waiting = [
        eventlet.spawn(
            lambda n: (handler.acquire(), order.append(n), handler.release()), n
        )
        for n in range(5)
    ]
    eventlet.sleep(0.05)
    assert order == [], order
for each in waiting:
    each.wait()
assert sorted(order) == [0, 1, 2, 3, 4]
print("lock", type(handler.lock).__name__)
print("done")
