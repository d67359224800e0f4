"""oslo.concurrency: locks in the process and between processes, and child processes."""

import eventlet

eventlet.monkey_patch()

import sys

from oslo_concurrency import lockutils, processutils
from oslo_config import cfg

cfg.CONF([], project="example")
lockutils.set_defaults("locks")
inside, most, order = 0, 0, []


def work(number):
    global inside, most
    inside += 1
    most = max(most, inside)
    eventlet.sleep(0.001)
    order.append(number)
    inside -= 1


def reset():
    global most
    most = 0
    order.clear()


def together(function, count=20):
    reset()
    for each in [eventlet.spawn(function, number) for number in range(count)]:
        each.wait()
    assert sorted(order) == [*range(count)]
    return most


# In the process, by name and by decorator.
@lockutils.synchronized("named", "prefix-")
def one_at_a_time(number):
    work(number)


assert together(one_at_a_time) == 1
assert order == [*range(20)], order
assert together(work) == 20


def semaphore(number):
    with lockutils.lock("another"):
        work(number)


assert together(semaphore) == 1


# Between processes: a file. Others wait for it without blocking this process.
def external(number):
    with lockutils.lock("file", external=True, delay=0.001):
        work(number)


assert together(external) == 1

# Readers at once, writers alone.
fair = lockutils.ReaderWriterLock()
running, log = 0, []


def reading(number):
    with fair.read_lock():
        log.append("r")
        work(number)


def writing(number):
    with fair.write_lock():
        assert inside == 0
        work(number)


assert together(reading) == 20
assert together(writing) == 1
assert together(lambda n: (writing if n % 5 == 0 else reading)(n)) > 1

semaphores = lockutils.Semaphores()
with lockutils.lock("mine", semaphores=semaphores):
    try:
        with lockutils.lock("mine", semaphores=semaphores, blocking=False):
            raise AssertionError("it is taken")
    except lockutils.AcquireLockFailedException:
        pass

fair_order = []


def in_turn(number):
    with lockutils.lock("fair", fair=True):
        fair_order.append(number)
        work(number)


assert together(in_turn) == 1
assert fair_order == [*range(20)], fair_order

# Child processes, many at once, while others run.
ticks = []


def tick():
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)


ticker = eventlet.spawn(tick)
# Each waits until all are there.
MEET = "touch here-$0; while [ $(ls here-* | wc -l) -lt 8 ]; do sleep 0.05; done; cat; echo $0"
children = [
    eventlet.spawn(processutils.execute, "sh", "-c", MEET, str(n), process_input="in ")
    for n in range(8)
]
assert [each.wait()[0] for each in children] == [f"in {n}\n" for n in range(8)]
assert len(ticks) > 3
try:
    processutils.execute(
        "sh", "-c", "echo out; echo err >&2; exit 3", attempts=2, delay_on_retry=True
    )
except processutils.ProcessExecutionError as error:
    assert (error.exit_code, error.stdout, error.stderr) == (3, "out\n", "err\n")
else:
    raise AssertionError("no error")
try:
    processutils.execute("sleep", "60", timeout=0.2)
except Exception as error:
    # eventlet has one of its own.
    assert type(error).__name__ == "TimeoutExpired", repr(error)
else:
    raise AssertionError("no time-out")
out, _ = processutils.execute(
    sys.executable,
    "-c",
    "print('x' * 1_000_000)",
    log_errors=processutils.LOG_ALL_ERRORS,
)
assert len(out) == 1_000_001
limits = processutils.ProcessLimits(number_files=64)
out, _ = processutils.execute(
    "sh", "-c", "ulimit -n", prlimit=limits, python_exec=sys.executable
)
assert out == "64\n", out
assert processutils.trycmd("sh", "-c", "exit 0")[0] == ""
ticker.kill()
print("done")
