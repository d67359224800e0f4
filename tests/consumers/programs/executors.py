"""futurist's green executors and waiters, and taskflow's engines on them."""

import eventlet

eventlet.monkey_patch()

import logging
import threading

import futurist
from futurist import periodics, rejection, waiters
from taskflow import engines, task
from taskflow.patterns import graph_flow, linear_flow, unordered_flow


def nap(seconds):
    eventlet.sleep(seconds)
    return seconds


def fail():
    raise LookupError("as it should")


running = 0


def meet():
    """Wait until all 100 are there."""
    global running
    running += 1
    while running < 100:
        eventlet.sleep(0.01)
    return running


with futurist.GreenThreadPoolExecutor(max_workers=100) as executor:
    futures = [executor.submit(meet) for _ in range(100)]
    done, not_done = waiters.wait_for_all(futures, timeout=30)
    assert len(done) == 100
    assert not not_done
    assert all(each.result() == 100 for each in futures)
    long, short = executor.submit(nap, 5), executor.submit(nap, 0.01)
    done, not_done = waiters.wait_for_any([long, short], timeout=30)
    assert done == {short} and not_done == {long}
    done, not_done = waiters.wait_for_all([long], timeout=0.05)
    assert not done and not_done == {long}
    failed = executor.submit(fail)
    assert isinstance(failed.exception(), LookupError)
    called = []
    future = executor.submit(nap, 0.01)
    future.add_done_callback(lambda f: called.append(f.result()))
    assert future.result(timeout=30) == 0.01 and called == [0.01]
    assert list(executor.map(nap, [0.02, 0.01])) == [0.02, 0.01]
    assert executor.statistics.executed >= 104
    assert executor.statistics.failures == 1
try:
    executor.submit(nap, 0)
except RuntimeError:
    pass
else:
    raise AssertionError("it is shut down")

rejecting = futurist.GreenThreadPoolExecutor(
    max_workers=1, check_and_reject=rejection.reject_when_reached(2)
)
kept = []
try:
    for _ in range(10):
        kept.append(rejecting.submit(nap, 0.01))
        # Those that were submitted begin.
except futurist.RejectedSubmission:
    pass
else:
    raise AssertionError("nothing was rejected")
rejecting.shutdown()
assert [each.result() for each in kept] == [0.01] * len(kept)

# Periodic workers on a green executor.
counts = {"often": 0, "failing": 0}


@periodics.periodic(0.02, run_immediately=True)
def often():
    counts["often"] += 1
    if counts["often"] == 10:
        worker.stop()


@periodics.periodic(0.02)
def failing():
    counts["failing"] += 1
    raise LookupError("and others go on")


logging.disable(logging.CRITICAL)
worker = periodics.PeriodicWorker(
    [(often, (), {}), (failing, (), {})],
    executor_factory=lambda: futurist.GreenThreadPoolExecutor(max_workers=10),
)
thread = threading.Thread(target=worker.start)
thread.start()
thread.join(60)
assert not thread.is_alive() and counts["often"] >= 10 and counts["failing"] > 1, counts
logging.disable(logging.NOTSET)


# taskflow: what can run at once does, and what failed is reverted.
active, most, reverted = 0, 0, []


class Part(task.Task):
    def __init__(self, name, **keywords):
        super().__init__(name, provides=name, **keywords)

    def execute(self, **needs):
        global active, most
        active += 1
        most = max(most, active)
        eventlet.sleep(0.05)
        active -= 1
        return self.name + "".join(sorted(needs.values()))

    def revert(self, **_):
        reverted.append(self.name)


class Failing(task.Task):
    def execute(self):
        eventlet.sleep(0.2)
        raise LookupError("as it should")


flow = graph_flow.Flow("graph").add(
    *(Part(f"part{n}") for n in range(30)),
    Part("sum", requires=[f"part{n}" for n in range(30)]),
)
with futurist.GreenThreadPoolExecutor(max_workers=50) as executor:
    engine = engines.load(flow, engine="parallel", executor=executor)
    engine.run()
    whole = engine.storage.fetch("sum")
    assert whole.startswith("sum") and whole.count("part") == 30
    assert most > 20, most
    failing_flow = linear_flow.Flow("line").add(
        unordered_flow.Flow("many").add(*(Part(f"x{n}") for n in range(5))), Failing()
    )
    try:
        engines.run(failing_flow, engine="parallel", executor=executor)
    except LookupError as error:
        assert str(error) == "as it should"
    else:
        raise AssertionError("no error")
    assert sorted(reverted) == [f"x{n}" for n in range(5)]
result = engines.run(
    linear_flow.Flow("greenthreaded").add(Part("only")),
    engine="parallel",
    executor="greenthreaded",
)
assert result["only"] == "only"
print("done")
