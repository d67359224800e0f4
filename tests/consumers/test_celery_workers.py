"""Celery's worker on `greenio.workers.celery`: how it starts, scales, stops and dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

pytest.importorskip("celery")

from celery.exceptions import TimeLimitExceeded

from _celery import ALIAS, CUSTOM_POOL, ENDED, HERE, PATIENCE, Worker, until

both = pytest.mark.parametrize("kind", ["", "_async"], ids=["blocking", "async"])
POOL = "greenio.workers.celery:TaskPool"


def begun(worker, results):
    """Wait until tasks run."""
    ids = {result.id for result in results}
    until(lambda: ids <= worker.active(), "they run")


# -- how it is started ------------------------------------------------------------------


@pytest.mark.smoke
def test_the_custom_pool_of_celerys_command(broker, loop, tmp_path):
    options = {"hub": loop, "command": CUSTOM_POOL, "CELERY_CUSTOM_WORKER_POOL": POOL}
    with Worker(broker, tmp_path, "-P", "custom", "-c", "50", **options) as worker:
        assert worker.ask("where_async")[1] == loop
        assert worker.inspect("stats")["pool"]["implementation"] == POOL
        assert "RuntimeWarning" not in worker.text()


def test_a_pool_that_is_named_too_late_is_warned_of(redis, loop, tmp_path):
    (tmp_path / "late_app.py").write_text(
        "from _celery_app import app\n"
        "app.conf.worker_pool = 'greenio.workers.celery:TaskPool'\n"
    )
    options = {"hub": loop, "command": CUSTOM_POOL, "app": "late_app"}
    with Worker(redis, tmp_path, "-c", "50", **options) as worker:
        assert worker.ask("add_async", 1, 2) == 3
        text = " ".join(worker.text().split())
        assert "RuntimeWarning: celery.app" in text
        assert "Name the pool on the command line" in text


def test_the_kind_of_loop_as_an_option(redis, tmp_path):
    command = ("-m", "greenio.workers.celery", "--hub", "uvloop")
    pytest.importorskip("uvloop")
    with Worker(redis, tmp_path, command=command) as worker:
        assert worker.ask("where_async")[1] == "uvloop"


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "greenio.workers.celery", "--monitor=0.05", "--debug"),
        ("-m", "greenio", "--monitor=0.05", "--debug", "celery"),
    ],
    ids=["own", "alias"],
)
def test_it_is_watched_by_option(redis, loop, tmp_path, command):
    options = () if "greenio" not in command else ("-P", "eventlet")
    with Worker(redis, tmp_path, *options, hub=loop, command=command) as worker:
        assert worker.ask("hog") is True
        worker.wait_for_line("has been blocking the loop for ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--monitor=0"], "--monitor takes a number of seconds above 0, not '0'"),
        (["--hub", "none"], "none"),
    ],
)
def test_a_wrong_option_is_an_error(words, message):
    command = [sys.executable, "-m", "greenio.workers.celery", *words, "worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_no_task_has_a_client_of_redis_made_for_it(redis, loop, tmp_path):
    """kombu makes one for each command of its own, which costs more than the command."""
    with Worker(redis, tmp_path, hub=loop) as worker:
        assert worker.ask("clients_made") == 0
        for result in [worker.send("add_async", 1, 2) for _ in range(20)]:
            assert result.get(timeout=PATIENCE) == 3
        assert worker.ask("clients_made") < 20


def test_no_part_of_a_message_takes_a_read_of_its_own(rabbitmq, loop, tmp_path):
    """py-amqp asks for each part by its length: nine reads of a message, and of one's own."""
    with Worker(rabbitmq, tmp_path, hub=loop, TEST_READS="1") as worker:
        before = worker.ask("reads_made")
        results = [worker.send("add_async", 1, 2) for _ in range(40)]
        assert [result.get(timeout=PATIENCE) for result in results] == [3] * 40
        # One to learn that there is nothing, and one for each that comes alone.
        assert worker.ask("reads_made") - before < 40 * 5


def test_messages_of_any_size(broker, loop, tmp_path):
    """What is read ahead of one message belongs to the next ones."""
    sizes = [0, 1, 4000, 4095, 4096, 4097, 70_000, 300_000] * 3
    with Worker(broker, tmp_path, hub=loop) as worker:
        results = [worker.send("length", "x" * size) for size in sizes]
        assert [result.get(timeout=PATIENCE) for result in results] == sizes


@pytest.mark.smoke
def test_celerys_own_eventlet_pool_through_the_alias(broker, loop, tmp_path):
    options = {"hub": loop, "command": ALIAS}
    with Worker(broker, tmp_path, "-P", "eventlet", "-c", "100", **options) as worker:
        results = [worker.send("nap", 0.5) for _ in range(20)]
        for result in results:
            result.get(timeout=PATIENCE)
        assert worker.ask("report")["most"] > 1
        assert worker.inspect("ping") == {"ok": "pong"}
        result = worker.send("ends", 60)
        begun(worker, [result])
        worker.app.control.revoke(result.id, terminate=True, destination=[worker.name])
        with pytest.raises(Exception, match=ENDED):
            result.get(timeout=PATIENCE)
        worker.control("pool_grow", 2)
        worker.control("pool_shrink", 1)
        assert worker.inspect("stats")["pool"]["max-concurrency"] == 101
        assert worker.ask("asks_blocking", 1, 2) == 3
        assert worker.stop() == 0


# -- limits for all tasks ---------------------------------------------------------------


@both
def test_time_limits_of_the_worker(redis, loop, tmp_path, kind):
    limits = ("--time-limit", "1", "--soft-time-limit", "0.3")
    with Worker(redis, tmp_path, *limits, hub=loop) as worker:
        with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
            worker.ask(f"ends{kind}", 60)
        with pytest.raises(TimeLimitExceeded):
            worker.ask(f"stubborn{kind}", soft_time_limit=50)
        assert worker.inspect("stats")["pool"]["timeouts"] == [0.3, 1.0]


# -- its size ---------------------------------------------------------------------------


@both
def test_no_more_at_once_than_there_is_room_for(broker, loop, tmp_path, kind):
    with Worker(broker, tmp_path, "-c", "3", hub=loop) as worker:
        results = [worker.send(f"nap{kind}", 0.2) for _ in range(12)]
        for result in results:
            result.get(timeout=PATIENCE)
        assert worker.ask("report")["most"] == 3


@both
def test_all_run_at_once_that_there_is_room_for(broker, loop, tmp_path, kind):
    """Of six hundred none ends before three hundred run, which is the size of the pool."""
    room = 300
    with Worker(broker, tmp_path, "-c", str(room), hub=loop) as worker:
        results = [
            worker.send(f"meet_early{kind}", f"{half} half", room)
            for half in ("first", "second")
            for _ in range(room)
        ]
        ended = re.compile(rf"Task meet_early{kind}\[.* succeeded in ")
        until(lambda: len(ended.findall(worker.text())) == len(results), "all end")
        assert results[-1].get(timeout=PATIENCE) is None
        assert worker.ask("report")["most"] == room


@both
def test_growing_starts_what_waits(broker, loop, tmp_path, kind):
    with Worker(broker, tmp_path, "-c", "1", hub=loop) as worker:
        results = [worker.send(f"nap{kind}", 60) for _ in range(3)]
        until(lambda: len(worker.active()) == 1, "one runs")
        worker.control("pool_grow", 2)
        begun(worker, results)
        worker.control("pool_shrink", 1)
        # Those that run go on.
        assert worker.active() == {result.id for result in results}


@both
def test_autoscale(broker, loop, tmp_path, kind):
    options = ("--autoscale", "20,2")
    with Worker(
        broker, tmp_path, *options, hub=loop, AUTOSCALE_KEEPALIVE="1"
    ) as worker:

        def size():
            return worker.inspect("stats")["pool"]["max-concurrency"]

        assert size() == 2
        gate = tmp_path / "gate"
        results = [worker.send(f"holds{kind}", str(gate), n) for n in range(15)]
        begun(worker, results)
        assert size() >= 15
        gate.touch()
        until(lambda: size() == 2, "it has shrunk")
        assert worker.ask(f"add{kind}", 1, 2) == 3


# -- beat -------------------------------------------------------------------------------


def test_embedded_beat(broker, loop, tmp_path):
    with Worker(broker, tmp_path, "-B", "-c", "10", hub=loop) as worker:
        ticks = 0

        def ticked():
            nonlocal ticks
            ticks += worker.ask("report")["noted"].count("tick")
            return ticks >= 3

        until(ticked, "beat has sent tasks")
        assert worker.stop() == 0


# -- the broker -------------------------------------------------------------------------


@both
def test_heartbeats_while_more_is_waiting_than_there_is_room_for(
    rabbitmq, loop, tmp_path, kind
):
    """The broker, and the worker, end a connection that is silent for two heartbeats."""
    options = {"hub": loop, "TEST_HEARTBEAT": "1"}
    with Worker(rabbitmq, tmp_path, "-c", "2", **options) as worker:
        results = [worker.send(f"nap_late{kind}", 5) for _ in range(4)]
        for result in results:
            result.get(timeout=PATIENCE)
        assert worker.text().count("Connected to") == 2
        assert "onnection to broker lost" not in worker.text()


def test_heartbeats_while_messages_come_all_the_time(rabbitmq, loop, tmp_path):
    options = {"hub": loop, "TEST_HEARTBEAT": "1"}
    with Worker(rabbitmq, tmp_path, "-c", "2", **options) as worker:
        begun = time.monotonic()
        while time.monotonic() < begun + 5:
            assert worker.ask("add", 1, 2) == 3
        assert worker.text().count("Connected to") == 2
        assert "onnection to broker lost" not in worker.text()


@both
def test_results_in_a_database(redis, loop, tmp_path, kind):
    backend = f"db+sqlite:///{tmp_path}/results"
    with Worker(redis, tmp_path, hub=loop, backend=backend) as worker:
        assert worker.ask(f"add{kind}", 1, 2) == 3
        result = worker.send(f"fails{kind}")
        with pytest.raises(ValueError, match="what a task raises"):
            result.get(timeout=PATIENCE)
        assert worker.ask("asks_async", 1, 2) == [3, 3, 3]


# -- its end ----------------------------------------------------------------------------


@both
def test_warm_shutdown(broker, loop, tmp_path, kind):
    """What runs is finished, what waits goes back to the broker."""
    with Worker(broker, tmp_path, "-c", "2", hub=loop) as worker:
        gate = tmp_path / "gate"
        results = [worker.send(f"holds{kind}", str(gate), n) for n in range(5)]
        begun(worker, results[:2])
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for_line("Warm shutdown")
        gate.touch()
        assert worker.process.wait(PATIENCE) == 0
        assert [result.get(timeout=PATIENCE) for result in results[:2]] == [0, 1]
        with Worker(
            broker, tmp_path, "-c", "9", hub=loop, queue=worker.queue
        ) as another:
            assert [result.get(timeout=PATIENCE) for result in results[2:]] == [2, 3, 4]
            assert not another.active()


@both
def test_cold_shutdown(broker, loop, tmp_path, kind):
    """What runs is ended, and is done by another worker if it is acknowledged late."""
    with Worker(broker, tmp_path, "-c", "4", hub=loop) as worker:
        results = [worker.send(f"nap_numbered{kind}", 30, n) for n in range(2)]
        begun(worker, results)
        # It is not left to run to its end: that would be after more than this patience.
        worker.process.send_signal(signal.SIGQUIT)
        worker.process.wait(25)
        assert "BlockingInLoopError" not in worker.text()
        with Worker(
            broker, tmp_path, "-c", "4", hub=loop, queue=worker.queue
        ) as another:
            begun(another, results)


def test_a_soft_shutdown_lets_short_tasks_end(redis, loop, tmp_path):
    pytest.importorskip("celery", minversion="5.5")
    (tmp_path / "soft_app.py").write_text(
        "from _celery_app import app\napp.conf.worker_soft_shutdown_timeout = 4\n"
    )
    options = {"hub": loop, "app": "soft_app"}
    with Worker(redis, tmp_path, "-c", "9", **options) as worker:
        gate = tmp_path / "gate"
        short, long = worker.send("holds", str(gate), 1), worker.send("ends", 60)
        begun(worker, [short, long])
        worker.process.send_signal(signal.SIGQUIT)
        worker.wait_for_line("Initiating Soft Shutdown")
        gate.touch()
        assert short.get(timeout=PATIENCE) == 1
        worker.process.wait(PATIENCE)


@both
def test_a_worker_that_is_killed_under_load_loses_no_task(broker, loop, tmp_path, kind):
    options = {"hub": loop, "TEST_VISIBILITY": "5"}
    with Worker(broker, tmp_path, "-c", "50", **options) as first:
        options["queue"] = first.queue
        with Worker(broker, tmp_path, "-c", "50", **options):
            count = 150
            results = [
                first.send(f"nap_numbered{kind}", 1 + n % 3, n) for n in range(count)
            ]
            until(lambda: len(first.active()) > 10, "it has much to do")
            first.process.kill()
            first.process.wait()
            # With Redis, a worker looks every ten seconds for what was not
            # acknowledged for too long.
            assert [result.get(timeout=150) for result in results] == list(range(count))


# -- without a worker -------------------------------------------------------------------


def test_called_eagerly(loop):
    program = """
        import asyncio, sys, warnings
        from celery import Celery
        from celery.exceptions import Retry
        from greenio.workers.celery_tasks import await_tasks

        app = Celery("eager", broker="memory://", backend="cache+memory://", set_as_current=False)
        app.conf.task_always_eager = True

        @app.task
        async def add(a, b):
            await asyncio.sleep(0)
            return a + b

        @app.task(bind=True)
        async def who(self):
            await asyncio.sleep(0)
            return self.request.id, self.request.is_eager

        @app.task
        async def fails():
            await asyncio.sleep(0)
            raise ValueError("what it raises")

        @app.task(autoretry_for=(ZeroDivisionError,), max_retries=2, bind=True)
        async def tries(self):
            if self.request.retries < 2:
                raise ZeroDivisionError
            return self.request.retries

        await_tasks(app)

        @app.task
        async def defined_after():
            await asyncio.sleep(0)
            return "after"

        result = who.delay()
        assert result.get() == (result.id, True)
        assert defined_after.apply().get() == "after"
        assert add.apply((1, 2)).get() == 3
        assert (add.s(1, 2) | add.s(3)).apply_async().get() == 6
        assert fails.apply().state == "FAILURE"
        assert tries.apply().get() == 2
        # Called directly, it is what it looks like.
        assert asyncio.run(add(1, 2)) == 3
        import time, greenio
        assert not greenio.patcher.is_monkey_patched("time")
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", textwrap.dedent(program)],
        cwd=HERE,
        env=os.environ | {"GREENIO_HUB": loop},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
