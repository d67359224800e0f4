"""The application that the workers in these tests run; told by its environment what to use."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path

from celery import Celery, Task, current_task
from celery.exceptions import Reject, SoftTimeLimitExceeded

app = Celery("consumers")
app.conf.update(
    broker_url=os.environ["TEST_BROKER"],
    result_backend=os.environ["TEST_BACKEND"],
    task_default_queue=os.environ["TEST_QUEUE"],
    broker_connection_retry_on_startup=True,
    worker_redirect_stdouts=False,
    broker_heartbeat=float(os.environ.get("TEST_HEARTBEAT", "120")),
    beat_schedule={"tick": {"task": "tick", "schedule": 0.2}},
    beat_schedule_filename=os.environ.get("TEST_SCHEDULE", "schedule"),
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("TEST_VISIBILITY", "3600")),
        # Not shared with the workers of other tests. One that is killed while it looks
        # for what others have lost keeps them from that until this has expired.
        "unacked_key": os.environ["TEST_QUEUE"] + "-unacked",
        "unacked_index_key": os.environ["TEST_QUEUE"] + "-unacked-index",
        "unacked_mutex_key": os.environ["TEST_QUEUE"] + "-unacked-mutex",
        "unacked_mutex_expire": 5,
    }
    if os.environ["TEST_BROKER"].startswith("redis")
    else {},
    task_send_sent_event=True,
    worker_proc_alive_timeout=30,
)
running = 0
most = 0
noted: list[object] = []
begun: set[str] = set()


class counted:
    """Counts those that are inside at once."""

    def __enter__(self):
        global running, most
        running += 1
        most = max(most, running)

    def __exit__(self, *_):
        global running
        running -= 1


@app.task(name="add")
def add(a, b):
    return a + b


@app.task(name="add_async")
async def add_async(a, b):
    await asyncio.sleep(0)
    return a + b


@app.task(name="nap")
def nap(seconds):
    with counted():
        time.sleep(seconds)


@app.task(name="nap_async")
async def nap_async(seconds):
    with counted():
        await asyncio.sleep(seconds)


class Meeting:
    def __init__(self):
        self.here = 0
        self.complete = threading.Event()
        self.complete_async = asyncio.Event()

    def enter(self, count):
        self.here += 1
        if self.here == count:
            self.complete.set()
            self.complete_async.set()


meetings: dict[str, Meeting] = {}


@app.task(name="meet", acks_late=True)
def meet(name, count):
    """Return when so many are in here at once."""
    meeting = meetings.setdefault(name, Meeting())
    meeting.enter(count)
    meeting.complete.wait()


@app.task(name="meet_async", acks_late=True)
async def meet_async(name, count):
    meeting = meetings.setdefault(name, Meeting())
    meeting.enter(count)
    await meeting.complete_async.wait()


@app.task(name="meet_early")
def meet_early(name, count):
    """As `meet`, acknowledged before it runs, and counted."""
    with counted():
        meet(name, count)


@app.task(name="meet_early_async")
async def meet_early_async(name, count):
    with counted():
        await meet_async(name, count)


@app.task(name="nap_late", acks_late=True)
def nap_late(seconds):
    time.sleep(seconds)


@app.task(name="nap_late_async", acks_late=True)
async def nap_late_async(seconds):
    await asyncio.sleep(seconds)


@app.task(name="report")
def report():
    """What the worker has seen since it was last asked."""
    global most
    result = {"most": most, "noted": list(noted), "pid": os.getpid()}
    most = running
    noted.clear()
    return result


@app.task(name="has_begun")
def has_begun(task_id):
    return task_id in begun


@app.task(name="hog")
def hog():
    """Keep the loop until that is noticed; return whether the loop is in debug mode."""
    records: list[object] = []

    def note(record):
        records.append(record)
        return True

    logger = logging.getLogger("greenio.debug")
    logger.addFilter(note)
    while not records:
        pass
    logger.removeFilter(note)
    return asyncio.get_running_loop().get_debug()


@app.task(name="where")
def where():
    return [threading.get_native_id()]


@app.task(name="where_async")
async def where_async():
    loop = asyncio.get_running_loop()
    return [threading.get_native_id(), type(loop).__module__.partition(".")[0]]


@app.task(name="identity", bind=True)
async def identity(self, seconds):
    async def asked_for():
        await asyncio.sleep(seconds)
        return self.request.id, current_task.request.id

    first = await asked_for()
    # A Task of its own, on every Python.
    second = await asyncio.create_task(asked_for())
    return [*first, *second, *(await asyncio.gather(asked_for(), asked_for()))[1]]


@app.task(name="retried", bind=True, max_retries=3)
async def retried(self, times):
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise self.retry(countdown=0.01)
    return self.request.retries


@app.task(
    name="retried_by_itself",
    bind=True,
    autoretry_for=(ZeroDivisionError,),
    retry_kwargs={"max_retries": 2, "countdown": 0},
)
async def retried_by_itself(self, times):
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise ZeroDivisionError(self.request.retries)
    return self.request.retries


@app.task(name="soft", soft_time_limit=0.2)
def soft():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded as error:
        return [type(error).__name__, error.args[0]]


@app.task(name="soft_async", soft_time_limit=0.2)
async def soft_async():
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded as error:
        # It may wait and do more, and be cancelled no more.
        await asyncio.sleep(0.01)
        return [type(error).__name__, error.args[0]]


@app.task(name="soft_group", soft_time_limit=0.2)
async def soft_group():
    """What it has gathered has ended when it is told of its limit."""
    ended = []

    async def child(number):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    try:
        await asyncio.gather(child(1), child(2))
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return sorted(ended)


@app.task(name="soft_in_blocking_call", soft_time_limit=0.2)
async def soft_in_blocking_call():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "caught"


@app.task(name="hard", bind=True, time_limit=0.2)
def hard(self):
    try:
        time.sleep(60)
    finally:
        noted.append(["hard", self.request.id])


@app.task(name="hard_async", bind=True, time_limit=0.2)
async def hard_async(self):
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        noted.append(["hard_async", self.request.id])


@app.task(name="clings", time_limit=0.2)
def clings():
    try:
        time.sleep(60)
    finally:
        time.sleep(3600)


@app.task(name="clings_async", time_limit=0.2)
async def clings_async():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(3600)


@app.task(name="stubborn", time_limit=0.2)
def stubborn():
    try:
        time.sleep(60)
    except BaseException:
        return "survived"


@app.task(name="stubborn_async", time_limit=0.2)
async def stubborn_async():
    try:
        await asyncio.sleep(60)
    except BaseException:
        return "survived"


@app.task(name="ends", bind=True)
def ends(self, seconds):
    begun.add(self.request.id)
    try:
        time.sleep(seconds)
    except BaseException as error:
        noted.append([self.request.id, type(error).__name__])
        raise


@app.task(name="ends_async", bind=True)
async def ends_async(self, seconds):
    begun.add(self.request.id)
    try:
        await asyncio.sleep(seconds)
    except BaseException as error:
        noted.append([self.request.id, type(error).__name__])
        raise


@app.task(name="fails")
def fails():
    raise ValueError("what a task raises")


@app.task(name="fails_async")
async def fails_async():
    await asyncio.sleep(0)
    raise ValueError("what a task raises")


@app.task(name="exits")
def exits():
    raise SystemExit(3)


@app.task(name="exits_async")
async def exits_async():
    await asyncio.sleep(0)
    raise SystemExit(3)


@app.task(name="cancels_itself")
async def cancels_itself():
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


@app.task(name="rejects", bind=True, acks_late=True)
async def rejects(self):
    await asyncio.sleep(0)
    noted.append(
        ["rejects", self.request.id, self.request.delivery_info["redelivered"]]
    )
    if not self.request.delivery_info["redelivered"]:
        raise Reject("once more", requeue=True)
    return "taken"


@app.task(name="asks")
def asks(a, b):
    """It calls another task and waits for it, in both ways."""
    result = add_async.delay(a, b)
    return result.get(timeout=30)


@app.task(name="asks_blocking")
def asks_blocking(a, b):
    return add.delay(a, b).get(timeout=30)


@app.task(name="asks_async")
async def asks_async(a, b):
    blocking = add.delay(a, b).get(timeout=30)
    return [blocking, await add_async(a, b), add_async.apply((a, b)).get()]


@app.task(name="ignored", ignore_result=True)
async def ignored(value):
    await asyncio.sleep(0)
    noted.append(value)


@app.task(name="progress", bind=True)
async def progress(self):
    self.update_state(state="HALF", meta={"done": 50})
    await asyncio.sleep(0)
    return self.AsyncResult(self.request.id).state


class Doubled(Task):
    """A class of tasks that has a method of its own."""

    async def run(self, value):
        await asyncio.sleep(0)
        return [value * 2, self.request.called_directly]


class Wrapped(Task):
    """A class of tasks with a `__call__`."""

    async def __call__(self, *args, **kwargs):
        return ["wrapped", await super().__call__(*args, **kwargs)]

    async def run(self, value):
        await asyncio.sleep(0)
        return value


class Plain(Task):
    def __call__(self, *args, **kwargs):
        noted.append("called")
        return super().__call__(*args, **kwargs)


Doubled.name = "doubled"
Wrapped.name = "wrapped"
app.register_task(Doubled())
app.register_task(Wrapped())


@app.task(name="plain", base=Plain)
async def plain(value):
    await asyncio.sleep(0)
    return value


@app.task(name="returns_a_coroutine")
def returns_a_coroutine(a, b):
    return add_async(a, b)


@app.task(name="tick", ignore_result=True)
async def tick():
    noted.append("tick")


@app.task(name="nap_numbered", bind=True, acks_late=True)
def nap_numbered(self, seconds, number):
    time.sleep(seconds)
    return number


@app.task(name="nap_numbered_async", bind=True, acks_late=True)
async def nap_numbered_async(self, seconds, number):
    await asyncio.sleep(seconds)
    return number


@app.task(name="holds", acks_late=True)
def holds(gate, number):
    """Wait until there is a file."""
    while not Path(gate).exists():
        time.sleep(0.02)
    return number


@app.task(name="holds_async", acks_late=True)
async def holds_async(gate, number):
    while not Path(gate).exists():
        await asyncio.sleep(0.02)
    return number


clients = 0


@app.task(name="clients_made")
def clients_made():
    """How many clients of Redis the worker has made since this was first asked."""
    import redis

    if not hasattr(redis.Redis.__init__, "counted"):
        make = redis.Redis.__init__

        def count(*args, **options):
            global clients
            clients += 1
            make(*args, **options)

        count.counted = True
        redis.Redis.__init__ = count
    return clients


reads = 0


def count_reads():
    """Count from now on how often sockets are read."""
    import socket

    receive = socket.socket.recv

    def count(*args, **options):
        global reads
        reads += 1
        return receive(*args, **options)

    socket.socket.recv = count


if os.environ.get("TEST_READS"):
    count_reads()


@app.task(name="reads_made")
def reads_made():
    """How often the worker has read from its sockets."""
    return reads


@app.task(name="length")
def length(text):
    return len(text)
