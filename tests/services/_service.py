"""A service with everything at once; test_mixed_service runs it.

FastAPI under uvicorn on uvloop, patched first. PostgreSQL is asked by asyncpg in
coroutines, and by psycopg2 in green threads, in functions that FastAPI hands to its
thread pool, and in a portal. Green threads in the background share a queue with all of
them. A coroutine measures how long the loop was busy without a pause.
"""

# ruff: noqa: E402

from __future__ import annotations

import greenio

greenio.monkey_patch()

import asyncio
import contextlib
import queue
import sys
import threading
import time

import asyncpg
import psycopg2
import uvicorn
from fastapi import FastAPI

from greenio.pools import Pool

URL, SECONDS = sys.argv[1], float(sys.argv[2])

connections = Pool(max_size=20, create=lambda: psycopg2.connect(URL))
orders: queue.Queue[int | None] = queue.Queue()
lock = threading.Lock()
local = threading.local()
handled: list[int] = []
blocking_calls: list[float] = []
longest_block = 0.0


def query(number: int) -> int:
    """A blocking call, as it is written for threads."""
    local.number = number
    with connections.item() as connection, connection.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute("select pg_sleep(%s), %s", [SECONDS, number])
        blocking_calls.append(time.perf_counter() - begun)
        row = cursor.fetchone()
        connection.rollback()
    with lock:
        assert local.number == number
    return row[1]


def work_off_orders() -> None:
    while (number := orders.get()) is not None:
        time.sleep(0.01)
        with lock:
            handled.append(number)


async def watch() -> None:
    global longest_block
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.002)
        longest_block = max(longest_block, time.perf_counter() - begun - 0.002)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(URL, min_size=20, max_size=20)
    workers = [greenio.spawn(work_off_orders) for _ in range(4)]
    watcher = asyncio.create_task(watch())
    yield
    watcher.cancel()
    for _ in workers:
        orders.put(None)
    for worker in workers:
        await worker
    await app.state.pool.close()
    while connections.free_items:
        connections.free_items.popleft().close()


app = FastAPI(lifespan=lifespan)


@app.get("/async/{number}")
async def by_asyncpg(number: int) -> dict[str, int]:
    statement = "select pg_sleep($1), $2::int"
    row = await app.state.pool.fetchrow(statement, SECONDS, number)
    return {"number": row[1]}


@app.get("/sync/{number}")
def in_the_thread_pool(number: int) -> dict[str, int]:
    return {"number": query(number)}


@app.get("/green/{number}")
async def in_a_green_thread(number: int) -> dict[str, int]:
    return {"number": await greenio.run_green(query, number)}


@app.get("/portal/{number}")
@greenio.portal
async def in_a_portal(number: int) -> dict[str, int]:
    return {"number": query(number)}


@app.get("/order/{number}")
async def in_the_background(number: int) -> dict[str, int]:
    orders.put(number)
    return {"number": number}


@app.get("/reset")
async def reset() -> dict[str, object]:
    global longest_block
    longest_block = 0.0
    return {}


@app.get("/figures")
async def figures() -> dict[str, object]:
    return {
        "handled": sorted(handled),
        "longest block": longest_block,
        "shortest blocking call": min(blocking_calls),
        "loop": type(asyncio.get_running_loop()).__module__,
    }


class Server(uvicorn.Server):
    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(
        app, port=0, loop="uvloop", log_level="warning", backlog=512
    )
    # It raises that once more when it has shut down.
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run()
