"""`ThreadPoolExecutor` of a patched program: its threads, its locks, and those from before.

`test_patcher_asyncio` has what coroutines do with executors.
"""

from __future__ import annotations

import pytest

from _fresh import run

_PATCHED = "import greenio; greenio.monkey_patch()\n"


def test_a_job_submits_another_to_another_executor(loop):
    """All executors share one lock, which the first `submit` holds while it starts the job."""
    assert (
        run(
            _PATCHED
            + """if True:
        from concurrent.futures import ThreadPoolExecutor
        outer, inner = ThreadPoolExecutor(2), ThreadPoolExecutor(2)
        def submit():
            return outer.submit(lambda: inner.submit(lambda: "done")).result().result()
        print(submit(), greenio.spawn(submit).wait())
        """,
            hub=loop,
        )
        == "done done\n"
    )


def test_a_job_forks_and_the_child_has_an_executor(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        import os
        from concurrent.futures import ThreadPoolExecutor
        def fork():
            child = os.fork()
            if child:
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os._exit(ThreadPoolExecutor(1).submit(lambda: 7).result())
        print(ThreadPoolExecutor(2).submit(fork).result())
        """,
            hub=loop,
        )
        == "7\n"
    )


@pytest.mark.parametrize("how", ["same", "another"])
def test_a_coroutine_submits_while_jobs_do(loop, how):
    """No job waits for the lock of a `submit`: a coroutine would meet it there."""
    assert (
        run(
            f"""if True:
        import greenio; greenio.monkey_patch()
        import asyncio
        from concurrent.futures import ThreadPoolExecutor
        outer = ThreadPoolExecutor(64)
        inner = outer if {how!r} == "same" else ThreadPoolExecutor(64)
        def green():
            for _ in range(20):
                outer.submit(inner.submit, int)
                greenio.sleep(0)
        async def submits():
            for _ in range(100):
                await asyncio.get_running_loop().run_in_executor(inner, int)
                await asyncio.sleep(0)
        async def main():
            await asyncio.gather(greenio.run_green(green), submits(), submits())
            print("none was refused")
        greenio.run(main)
        """,
            hub=loop,
        )
        == "none was refused\n"
    )


def test_a_job_begins_in_submit(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        from concurrent.futures import ThreadPoolExecutor
        seen = []
        def submit():
            pool = ThreadPoolExecutor()
            job = pool.submit(seen.append, "began")
            seen.append("submitted")
            job.result()
        for where in (submit, lambda: greenio.spawn(submit).wait()):
            where()
            print(seen)
            seen.clear()
        """,
            hub=loop,
        )
        == "['began', 'submitted']\n" * 2
    )


def test_a_submit_that_waits_holds_up_only_those_that_submit(loop):
    """As one does whose class starts its threads in a way of its own."""
    assert (
        run(
            _PATCHED
            + """if True:
        from concurrent.futures import ThreadPoolExecutor
        class Slow(ThreadPoolExecutor):
            def _adjust_thread_count(self):
                print("waits")
                go_on.wait()
                super()._adjust_thread_count()
        go_on = greenio.Event()
        slow = greenio.spawn(lambda: Slow(1).submit(int).result())
        greenio.sleep(0)
        fast = greenio.spawn(lambda: ThreadPoolExecutor(1).submit(int).result())
        greenio.sleep(0)
        print("others go on", fast.dead)
        go_on.send()
        print(slow.wait(), fast.wait())
        """,
            hub=loop,
        )
        == "waits\nothers go on False\n0 0\n"
    )


def test_one_that_has_not_worked_before_the_patch_is_green(loop):
    assert (
        run(
            """if True:
        from concurrent.futures import ThreadPoolExecutor
        from threading import get_ident
        ident = get_ident
        pool, inner = ThreadPoolExecutor(2), ThreadPoolExecutor(2)
        import greenio; greenio.monkey_patch()
        def job():
            greenio.sleep(0)
            return inner.submit(lambda: (ident(), get_ident())).result()
        real, green = pool.submit(job).result()
        print(real == ident(), green == ident())
        """,
            hub=loop,
        )
        == "True False\n"
    )


def test_those_that_were_at_work_before_the_patch_keep_real_threads(loop):
    """Their queue is a real one: it would hold up the loop of a green thread."""
    assert (
        run(
            """if True:
        import asyncio, threading
        import greenio
        from concurrent.futures import ThreadPoolExecutor
        both, pool = threading.Barrier(2), ThreadPoolExecutor(2)
        async def main():
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, int)
            pool.submit(int).result()
            greenio.monkey_patch()
            for executor in (None, pool):
                jobs = [loop.run_in_executor(executor, both.wait) for _ in range(2)]
                print(sorted(await asyncio.gather(*jobs)))
            jobs = await greenio.run_green(lambda: [pool.submit(both.wait) for _ in "12"])
            print(sorted(await asyncio.gather(*map(asyncio.wrap_future, jobs))))
        greenio.run(main)
        """,
            hub=loop,
        )
        == "[0, 1]\n" * 3
    )
