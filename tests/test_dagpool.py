"""`greenio.dagpool`: green threads that wait for each other's results."""

from __future__ import annotations

import gc

import pytest
from greenlet import GreenletExit
from hypothesis import given
from hypothesis import strategies as st

import greenio
from _fresh import python
from _support import until
from greenio import event, sleep, spawn
from greenio.dagpool import Collision, DAGPool, PropagateError


def collect(key, results, *args, **kwds):
    return (key, dict(results), args, kwds)


def fail(key, results):
    raise ValueError(f"{key} fails")


def test_values_arrive_as_dependencies_allow(hub_name):
    pool = DAGPool({"a": 1})
    order = []

    def note(key, results):
        total = sum(value for _, value in results) + 1
        order.append(key)
        return total

    pool.spawn("d", ["b", "c"], note)
    pool.spawn("c", ["a", "b"], note)
    pool.spawn("b", ["a"], note)
    assert pool.waitall() == {"a": 1, "b": 2, "c": 4, "d": 7}
    assert order == ["b", "c", "d"]
    assert (pool.running(), pool.waiting()) == (0, 0)


def test_all_begin_at_once_and_arguments_are_passed(hub_name):
    pool, begun = DAGPool([("x", 0)]), []

    def start(key, results, *args, **kwds):
        begun.append(key)
        return collect(key, results, *args, **kwds)

    pool.spawn_many({"a": ["b"], "b": ["go"]}, start, 1, two=2)
    sleep(0)
    assert sorted(begun) == ["a", "b"]
    assert pool.waiting() == pool.running() == 2
    assert sorted(pool.running_keys()) == ["a", "b"]
    assert pool.waiting_for() == {"a": {"b"}, "b": {"go"}}
    assert pool.waiting_for("a") == {"b"}
    assert pool.waiting_for("x") == set()
    with pytest.raises(KeyError):
        pool.waiting_for("go")
    pool.post("go", 7)
    assert pool["b"] == ("b", {"go": 7}, (1,), {"two": 2})
    assert pool.wait(["a"]).keys() == {"a"}


def test_spawn_many_takes_pairs_and_stops_at_a_collision(hub_name):
    pool = DAGPool()
    pool.spawn_many([("a", ()), ("b", ("a",))], collect)
    with pytest.raises(Collision) as caught:
        pool.spawn_many({"c": (), "b": (), "d": ()}, collect)
    assert caught.value.args == ("b",)
    assert pool.wait().keys() == {"a", "b", "c"}


def test_results_come_in_the_order_of_their_arrival(hub_name):
    pool, seen = DAGPool(), []

    def read(key, results):
        for pair in results:
            seen.append(pair)

    pool.spawn("reader", ["a", "b", "c"], read)
    for key in ("c", "a", "b"):
        pool.post(key, key.upper())
        until(lambda: seen and seen[-1][0] == key)  # noqa: B023 - used at once
    assert pool["reader"] is None
    assert seen == [("c", "C"), ("a", "A"), ("b", "B")]


def test_a_failure_propagates_down_the_graph(hub_name):
    pool = DAGPool()
    pool.spawn("c", ["b"], collect)
    pool.spawn("b", ["a"], collect)
    pool.spawn("a", (), fail)
    with pytest.raises(PropagateError) as caught:
        pool["c"]
    error = caught.value
    assert (error.key, error.exc.key, error.exc.exc.key) == ("c", "b", "a")
    assert isinstance(error.exc.exc.exc, ValueError)
    assert str(error.exc.exc) == "PropagateError(a): ValueError: a fails"
    assert error.exc.exc.__cause__ is error.exc.exc.exc
    for ask in (lambda: pool.get("a"), pool.items, pool.wait, pool.waitall):
        with pytest.raises(PropagateError):
            ask()
    assert set(pool.keys()) == {"a", "b", "c"}


def test_a_failure_that_is_asked_for_often_does_not_grow(hub_name):
    pool = DAGPool()
    pool.spawn("a", (), fail)

    def depth():
        try:
            pool["a"]
        except PropagateError as error:
            count, traceback = 0, error.__traceback__
            while traceback is not None:
                count, traceback = count + 1, traceback.tb_next
            return count

    first = depth()
    for _ in range(20):
        assert depth() == first


def test_successes_and_failures_apart(hub_name):
    pool = DAGPool({"one": 1})
    pool.spawn("bad", (), fail)
    pool.spawn("good", ("one",), collect)
    successes = dict(pool.wait_each_success())
    assert successes == {"one": 1, "good": ("good", {"one": 1}, (), {})}
    ((key, error),) = pool.wait_each_exception(["one", "bad"])
    assert (key, type(error), error.key) == ("bad", PropagateError, "bad")
    each = pool.wait_each(["bad", "one"])
    with pytest.raises(PropagateError):
        next(each)
    # It goes on after the failure.
    assert list(each) == [("one", 1)]


def test_a_posted_propagate_error_is_a_failure(hub_name):
    pool = DAGPool()
    pool.post("a", PropagateError("a", OSError("gone")))
    with pytest.raises(PropagateError, match="gone"):
        pool["a"]

    def forward(key, results):
        raise PropagateError(key, OSError("mine"))

    pool.spawn("b", (), forward)
    with pytest.raises(PropagateError) as caught:
        pool["b"]
    # It has said itself whose failure it is.
    assert isinstance(caught.value.exc, OSError)


def test_collisions(hub_name):
    pool = DAGPool({"a": 1})
    gate = event.Event()
    pool.spawn("b", (), lambda key, results: gate.wait())
    for collide in (
        lambda: pool.post("a", 2),
        lambda: pool.spawn("a", (), collect),
        lambda: pool.post("b", 2),
        lambda: pool.post("b", 2, replace=True),
        lambda: pool.spawn("b", (), collect),
    ):
        with pytest.raises(Collision):
            collide()
    pool.post("a", 2, replace=True)
    gate.send(5)
    assert pool.wait() == {"a": 2, "b": 5}
    pool.post("b", 6, replace=True)
    assert pool["b"] == 6


def test_a_green_thread_posts_the_value_of_its_own_key(hub_name):
    """As with eventlet: what it returns is dropped then, and others go on at once."""
    pool, gate = DAGPool(), event.Event()

    def early(key, results):
        pool.post(key, "posted")
        with pytest.raises(Collision):
            pool.post(key, "again")
        with pytest.raises(Collision):
            pool.post("other", "of another")
        gate.wait()
        return "returned"

    pool.spawn("a", (), early)
    pool.spawn("other", ("a",), lambda key, results: dict(results))
    assert pool["other"] == {"a": "posted"}
    assert (sorted(pool.keys()), pool.running_keys()) == (["a", "other"], ("a",))
    with pytest.raises(Collision):
        pool.post("a", "of somebody else", replace=True)
    assert pool.wait() == {"a": "posted", "other": {"a": "posted"}}
    assert [key for key, _ in pool.wait_each()].count("a") == 1
    gate.send()
    until(lambda: pool.running() == 0)
    assert pool["a"] == "posted"


def test_a_failure_after_the_value_was_posted_is_reported(hub_name):
    pool, reports = DAGPool(), []
    greenio.hubs.get_hub().loop.set_exception_handler(
        lambda loop, context: reports.append(repr(context["exception"]))
    )

    def early(key, results):
        pool.post(key, "posted")
        raise ValueError("late")

    pool.spawn("a", (), early)
    until(lambda: pool.running() == 0)
    assert pool["a"] == "posted"
    until(lambda: reports == ["ValueError('late')"])


def test_a_value_replaced_before_it_was_taken_is_the_new_one(hub_name):
    pool = DAGPool()
    reader = spawn(lambda: list(pool.wait_each(["a"])))
    sleep(0)
    pool.post("a", 1)
    pool.post("a", 2, replace=True)
    assert reader.wait() == [("a", 2)]


def test_kill_makes_the_key_free_again(hub_name):
    pool, cleaned = DAGPool(), []

    def hang(key, results):
        try:
            sleep(1000)
        finally:
            cleaned.append(key)
        return "late"

    pool.spawn("a", (), hang)
    waiting = spawn(lambda: pool["a"])
    sleep(0)
    pool.kill("a")
    assert cleaned == ["a"]
    assert (pool.keys(), pool.running()) == ((), 0)
    with pytest.raises(KeyError):
        pool.kill("a")
    sleep(0)
    assert not waiting.dead
    pool.spawn("a", (), lambda key, results: "second")
    assert waiting.wait() == "second"


def test_killing_one_that_has_not_started(hub_name):
    pool, called = DAGPool(), []
    pool.spawn("a", (), lambda key, results: called.append(key))
    pool.kill("a")
    sleep(0)
    assert (called, pool.keys(), pool.running()) == ([], (), 0)


def test_a_result_that_comes_after_the_kill_is_dropped(hub_name):
    pool = DAGPool()

    def stubborn(key, results):
        try:
            sleep(1000)
        except BaseException:
            return "late"

    pool.spawn("a", (), stubborn)
    sleep(0)
    pool.kill("a")
    assert pool.get("a", "nothing") == "nothing"


@pytest.mark.parametrize("kind", [greenio.Timeout, GreenletExit])
def test_ends_that_are_no_exceptions_are_failures_too(hub_name, kind):
    """Whoever waits for the key does not wait for ever."""
    pool = DAGPool()

    def end(key, results):
        raise kind()

    pool.spawn("a", (), end)
    with pytest.raises(PropagateError) as caught:
        pool["a"]
    assert isinstance(caught.value.exc, kind)


def test_system_exit_reaches_the_main_program(loop):
    done = python(
        "-c",
        "from greenio.dagpool import DAGPool; import sys\n"
        "DAGPool().spawn_many({'a': ()}, lambda *a: sys.exit(3))\n"
        "import greenio; greenio.sleep(60)",
        hub=loop,
    )
    assert (done.returncode, done.stderr) == (3, "")


def test_several_wait_for_the_same(hub_name):
    pool = DAGPool()
    waiting = [spawn(lambda: pool.wait(["a", "b"])) for _ in range(5)]
    sleep(0)
    pool.post("a", 1)
    sleep(0)
    pool.post("b", 2)
    assert [thread.wait() for thread in waiting] == [{"a": 1, "b": 2}] * 5


def test_several_share_an_iterator(hub_name):
    pool, taken = DAGPool(), []
    shared = pool.wait_each(["a", "b"])
    readers = [spawn(lambda: taken.extend(shared)) for _ in range(3)]
    sleep(0)
    pool.post("b", 1)
    pool.post("a", 2)
    for reader in readers:
        reader.wait()
    assert sorted(taken) == [("a", 2), ("b", 1)]


def test_who_is_killed_loses_no_value_of_a_shared_iterator(hub_name):
    pool = DAGPool()
    shared = pool.wait_each(["a"])
    first = spawn(next, shared)
    sleep(0)
    pool.post("a", 1)
    first.kill()
    assert next(shared) == ("a", 1)


def test_giving_up_leaves_nothing_behind(hub_name):
    pool = DAGPool()
    for _ in range(5):
        with greenio.Timeout(0.001, False):
            pool.wait(["never"])
    gc.collect()
    # The interpreter may still have the last one's traceback.
    assert len(list(pool._wanted["never"])) <= 1


def test_waiting_for_itself_is_seen(hub_name):
    pool = DAGPool()
    pool.spawn("a", ["a"], collect)
    sleep(0)
    assert pool.waiting_for() == {"a": {"a"}}
    pool.kill("a")


def test_coroutines_wait_too(run_async):
    async def main():
        pool = DAGPool({"a": 1})
        pool.spawn("b", ["a", "posted"], collect)
        with pytest.raises(greenio.BlockingInLoopError):
            pool["b"]
        pool.spawn("bad", (), fail)
        seen = []
        task_pairs = pool.wait_each(["b", "a"])
        async for key, _ in task_pairs:
            seen.append(key)
            if key == "a":
                pool.post("posted", 2)
        assert seen == ["a", "b"]
        assert (await pool.wait_async(["b"]))["b"][1] == {"a": 1, "posted": 2}
        with pytest.raises(PropagateError):
            await pool.waitall_async()
        return [key async for key, _ in pool.wait_each_exception()]

    assert run_async(main) == ["bad"]


def test_other_threads_post(hub_name, cast):
    pool = DAGPool()
    waiting = spawn(lambda: pool.wait(["a", "b"]))
    sleep(0)
    cast.start("thread", pool, "post", "a", 1).outcome()
    cast.start("other-green", pool, "post", "b", 2).outcome()
    assert waiting.wait() == {"a": 1, "b": 2}
    assert cast.start("thread", pool, "wait").outcome() == {"a": 1, "b": 2}
    assert cast.start("other-coroutine", pool, "wait").outcome() == {"a": 1, "b": 2}


def test_bad_arguments(hub_name):
    pool = DAGPool()
    with pytest.raises(TypeError, match="spawn takes a function"):
        pool.spawn("a", (), 5)
    with pytest.raises(TypeError, match=r"spawn\(key, \(\), function\)"):
        pool.spawn("a", None, collect)
    for unhashable in (
        lambda: pool.spawn([], (), collect),
        lambda: pool.spawn("a", [[]], collect),
        lambda: pool.post({}, 1),
    ):
        with pytest.raises(TypeError, match="unhashable"):
            unhashable()
    with pytest.raises(TypeError, match="not iterable"):
        list(pool)
    assert "a" not in pool
    assert (pool.running(), pool.keys()) == (0, ())
    assert list(pool.wait_each([])) == []
    assert "0 values, 0 running" in repr(pool)


@given(
    st.dictionaries(
        st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13
    ),
    st.randoms(use_true_random=False),
)
def test_any_graph_is_computed(graph, random):
    """Of whatever order and shape, as long as dependencies lead downwards."""
    graph = {key: [d for d in deps if d < key] for key, deps in graph.items()}
    missing = {d for deps in graph.values() for d in deps} - graph.keys()
    keys = list(graph)
    random.shuffle(keys)
    pool = DAGPool(dict.fromkeys(missing, 0))

    def depth(key, results):
        return 1 + max((value for _, value in results), default=0)

    for key in keys:
        pool.spawn(key, graph[key], depth)
    values = pool.waitall()
    for key, depends in graph.items():
        assert values[key] == 1 + max((values[d] for d in depends), default=0)


def test_a_key_whose_function_cannot_be_spawned_stays_free(hub_name):
    pool = DAGPool()
    with pytest.raises(TypeError):
        pool.spawn("a", [], None)
    assert pool.running_keys() == ()
    pool.spawn("a", [], collect)
    assert pool["a"] == ("a", {}, (), {})
