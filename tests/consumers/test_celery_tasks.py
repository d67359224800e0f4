"""Celery's worker on `greenio.workers.celery`: tasks, blocking-style and `async def`."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from concurrent.futures import CancelledError

import pytest

pytest.importorskip("celery")

from celery import chain, chord, group
from celery.exceptions import TimeLimitExceeded, WorkerLostError

from _celery import ENDED, PATIENCE, Worker, until

both = pytest.mark.parametrize("kind", ["", "_async"], ids=["blocking", "async"])


@pytest.fixture(scope="module")
def worker(broker, loop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("celery")
    # More than a thousand: some tests leave tasks behind that run on.
    with Worker(broker, folder, "-c", "1100", "-E", hub=loop) as worker:
        yield worker
        # Nothing failed that is not a task.
        for line in (
            "could not be told",
            "Unrecoverable",
            "never awaited",
            "outside body",
        ):
            assert line not in worker.text()
        # By itself, so that it counts what it has run of greenio; tasks that still run are ended.
        worker.process.send_signal(signal.SIGQUIT)
        worker.process.wait(60)


@pytest.fixture(scope="module")
def with_chords(worker):
    """The worker, if its result backend can count the members of a group."""
    if worker.app.conf.result_backend == "rpc://":
        pytest.skip("Celery has no chords on rpc://")
    return worker


def noted(worker):
    """What tasks have noted, once they have: the caller may be told of their end before."""
    return until(lambda: worker.ask("report")["noted"], "something is noted")


@both
def test_a_thousand_at_once(worker, kind):
    """None of them ends before all are running: then all do, and have few connections."""
    count = 1000
    results = [worker.send(f"meet{kind}", f"all{kind}", count) for _ in range(count)]
    ended = re.compile(rf"Task meet{kind}\[.* succeeded in ")
    # It is said when the result is stored. A client of Celery 5.5 takes up to a second for
    # each that it gets from RabbitMQ.
    until(
        lambda: len(ended.findall(worker.text())) == count,
        "all have ended",
        2 * PATIENCE,
    )
    assert results[0].get(timeout=PATIENCE) is None
    until(lambda: not worker.inspect("reserved"), "all acknowledged")
    assert "Couldn't ack" not in worker.text()


@pytest.mark.smoke
def test_both_kinds_share_one_thread_and_one_loop(worker, loop):
    thread, kind = worker.ask("where_async")
    assert worker.ask("where") == [thread]
    assert kind == loop


@pytest.mark.smoke
@both
def test_results(worker, kind):
    assert worker.ask(f"add{kind}", 1, 2) == 3


def test_a_task_that_returns_a_coroutine(worker):
    assert worker.ask("returns_a_coroutine", 1, 2) == 3


@pytest.mark.smoke
def test_what_it_awaits_knows_the_task(worker):
    results = [worker.send("identity", 0.001 * number) for number in range(10)]
    for result in results:
        assert set(result.get(timeout=PATIENCE)) == {result.id}


@both
def test_failures(worker, kind):
    result = worker.send(f"fails{kind}")
    with pytest.raises(ValueError, match="what a task raises"):
        result.get(timeout=PATIENCE)
    assert f"in fails{kind}" in result.traceback
    assert result.state == "FAILURE"


@both
def test_exits_are_failures_of_the_task(worker, kind):
    with pytest.raises(WorkerLostError, match=r"SystemExit\(3"):
        worker.ask(f"exits{kind}")
    assert worker.ask("add", 1, 1) == 2


def test_a_cancelled_task_of_asyncios_is_a_failure(worker):
    with pytest.raises(CancelledError):
        worker.ask("cancels_itself")


@pytest.mark.smoke
def test_retries(worker):
    assert worker.ask("retried", 2) == 2


def test_retries_by_kinds_of_exceptions(worker):
    assert worker.ask("retried_by_itself", 2) == 2
    with pytest.raises(ZeroDivisionError):
        worker.ask("retried_by_itself", 3)


def test_custom_classes(worker):
    assert worker.ask("doubled", 4) == [8, False]
    assert worker.ask("wrapped", 4) == ["wrapped", 4]
    assert worker.ask("plain", 4) == 4


def test_tasks_that_call_tasks(worker):
    assert worker.ask("asks", 1, 2) == 3
    assert worker.ask("asks_async", 1, 2) == [3, 3, 3]


def test_many_wait_for_others_at_once(worker):
    results = [worker.send("asks", number, number) for number in range(30)]
    assert [result.get(timeout=PATIENCE) for result in results] == [
        2 * number for number in range(30)
    ]


def test_chains_and_groups(worker):
    steps = chain(
        worker.task("add_async", 1, 2),
        worker.task("add", 3),
        worker.task("add_async", 4),
    )
    assert steps.apply_async().get(timeout=PATIENCE) == 10
    members = group(worker.task("add_async", n, n) for n in range(5))
    assert members.apply_async().get(timeout=PATIENCE) == [0, 2, 4, 6, 8]


def test_chords(with_chords):
    worker = with_chords
    members = [
        worker.task(name, n, n) for n, name in enumerate(["add", "add_async"] * 3)
    ]
    finish = worker.task("add_async", [100])
    assert chord(members)(finish).get(timeout=PATIENCE) == [0, 2, 4, 6, 8, 10, 100]


def test_ignored_results_and_late_acknowledgement(worker):
    worker.ask("report")
    worker.send("ignored", "seen")
    until(lambda: "seen" in worker.ask("report")["noted"], "the task ran")
    assert worker.ask("nap_late", 0.01) is None
    assert worker.ask("nap_late_async", 0.01) is None
    until(lambda: not worker.inspect("reserved"), "all acknowledged")


def test_a_rejected_message_comes_again(worker):
    assert worker.ask("rejects") == "taken"


def test_states_of_ones_own(with_chords):
    assert with_chords.ask("progress") == "HALF"


def test_countdowns_and_expiry(worker):
    later = worker.send("add_async", 1, 2, countdown=600)
    due = worker.send("add", 3, 4, countdown=0.1)
    gone = worker.send("add", 5, 6, expires=0.001, countdown=0.3)
    assert due.get(timeout=PATIENCE) == 7
    scheduled = {each["request"]["id"] for each in worker.inspect("scheduled")}
    assert later.id in scheduled
    assert due.id not in scheduled
    with pytest.raises(Exception, match="expired"):
        gone.get(timeout=PATIENCE)


# -- ending tasks -----------------------------------------------------------------------


@pytest.mark.smoke
@both
def test_soft_time_limit(worker, kind):
    assert worker.ask(f"soft{kind}") == ["SoftTimeLimitExceeded", 0.2]


def test_soft_time_limit_of_what_is_gathered(worker):
    assert worker.ask("soft_group") == [1, 2]


def test_soft_time_limit_of_a_blocking_call_in_a_coroutine(worker):
    assert worker.ask("soft_in_blocking_call") == "caught"


@both
def test_a_soft_time_limit_that_is_not_caught(worker, kind):
    with pytest.raises(Exception, match="SoftTimeLimitExceeded") as caught:
        worker.ask(f"ends{kind}", 60, soft_time_limit=0.1)
    assert type(caught.value).__name__ == "SoftTimeLimitExceeded"


@pytest.mark.smoke
@both
def test_hard_time_limit(worker, kind):
    worker.ask("report")
    result = worker.send(f"hard{kind}")
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=PATIENCE)
    assert noted(worker) == [[f"hard{kind}", result.id]]
    assert result.id not in worker.active()


@both
def test_a_clean_up_that_does_not_end_keeps_nobody_waiting(worker, kind):
    with pytest.raises(TimeLimitExceeded):
        worker.ask(f"clings{kind}")


@both
def test_a_task_does_not_survive_its_hard_time_limit(worker, kind):
    result = worker.send(f"stubborn{kind}")
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=PATIENCE)
    assert "survived" not in worker.text()


@both
def test_limits_by_message(worker, kind):
    with pytest.raises(TimeLimitExceeded):
        worker.ask(f"nap{kind}", 60, time_limit=0.1)
    assert worker.ask(f"nap{kind}", 0.01, time_limit=30, soft_time_limit=20) is None


@pytest.mark.smoke
@both
def test_revoked_with_terminate(worker, kind):
    worker.ask("report")
    result = worker.send(f"ends{kind}", 60)
    until(lambda: worker.ask("has_begun", result.id), "it runs")
    assert result.id in worker.active()
    worker.app.control.revoke(result.id, terminate=True, destination=[worker.name])
    with pytest.raises(Exception, match=ENDED):
        result.get(timeout=PATIENCE)
    assert result.state == "REVOKED"
    raised = "GreenletExit" if not kind else "CancelledError"
    assert noted(worker) == [[result.id, raised]]
    assert result.id not in worker.active()


@both
def test_terminated_with_the_signal_for_soft_limits(worker, kind):
    worker.ask("report")
    result = worker.send(f"ends{kind}", 60)
    until(lambda: worker.ask("has_begun", result.id), "it runs")
    assert result.id in worker.active()
    worker.app.control.terminate(result.id, signal="SIGUSR1", destination=[worker.name])
    until(
        lambda: (
            [result.id, "SoftTimeLimitExceeded"] in worker.ask("report")["noted"]
            or None
        ),
        "it was told",
    )


def test_revoked_before_it_starts(worker):
    result = worker.send("add_async", 1, 2, countdown=1)
    worker.app.control.revoke(result.id, destination=[worker.name])
    with pytest.raises(Exception, match="revoked"):
        result.get(timeout=PATIENCE)


# -- remote control ----------------------------------------------------------------------


@pytest.mark.smoke
def test_remote_control(worker):
    assert worker.inspect("ping") == {"ok": "pong"}
    pool = worker.inspect("stats")["pool"]
    assert pool["implementation"] == "greenio.workers.celery:TaskPool"
    assert pool["max-concurrency"] == 1100
    assert "add_async" in worker.inspect("registered")
    assert worker.inspect("active_queues")[0]["name"] == worker.queue
    worker.control("pool_shrink", 1)
    assert worker.inspect("stats")["pool"]["max-concurrency"] == 1099
    worker.control("pool_grow", 1)
    assert worker.inspect("stats")["pool"]["max-concurrency"] == 1100


def test_rate_limits(worker):
    worker.ask("report")
    worker.control("rate_limit", "ignored", "5/s")
    begun = time.monotonic()
    for number in range(6):
        worker.send("ignored", number)
    noted = []
    while len(noted) < 6:
        noted += worker.ask("report")["noted"]
        assert time.monotonic() < begun + PATIENCE
    # It does not depend on how quick the machine is that it takes long enough.
    assert time.monotonic() - begun > 0.5
    worker.control("rate_limit", "ignored", "0")


@both
def test_events(worker, kind):
    seen = []
    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context() as (consuming, _, _):

            def types(wanted=None):
                with contextlib.suppress(TimeoutError):
                    consuming.drain_events(timeout=0.5)
                return {each["type"] for each in seen if each.get("uuid") == wanted}

            # Only who listens already gets them.
            until(lambda: "worker-heartbeat" in types(), "a heartbeat came")
            result = worker.send(f"add{kind}", 1, 2)
            until(lambda: "task-succeeded" in types(result.id), "its events came")
            assert types(result.id) >= {"task-received", "task-started"}
