"""KeyboardInterrupt at each place where a pool is used: no slot may be lost or doubled.

Run as a program: ``python _pool_injection.py raised spawn`` does so for each place, raising it
right there; with ``signalled`` it comes by a real signal. It prints how many places there were.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from contextlib import suppress

from greenlet import GreenletExit

import _injection
import greenio
from _injection import interrupt_at

SIZE = 2
_rooms = ("_kernel", "_loop", "_reactor", "_greenthread", "_sync")


def _job(_number=0):
    greenio.sleep(0)


def _spawn(pool):
    threads = [pool.spawn(_job) for _ in range(3)]
    pool.spawn_n(int)
    for thread in threads:
        thread.wait()
    pool.waitall()


def _spawn_inside(pool):
    """Where the pool is full, the caller makes the call."""
    threads = [pool.spawn(pool.spawn, _job) for _ in range(SIZE)]
    for thread in threads:
        thread.wait()


def _spawn_killed(pool):
    """A slot that was handed to who is killed goes to the next."""
    first = [pool.spawn(_job) for _ in range(SIZE)]
    others = [greenio.spawn(pool.spawn, _job) for _ in range(2)]
    greenio.sleep(0)
    for thread in first:
        thread.wait()
    others[0].kill()
    for thread in others:
        with suppress(GreenletExit):
            thread.wait()
    pool.spawn(_job).kill()


def _imap(pool):
    for _ in pool.imap(_job, range(2)):
        pass
    for _ in pool.imap(int, range(2)):
        pass


def _imap_unordered(pool):
    for _ in pool.imap_unordered(_job, range(3)):
        pass
    for _ in pool.imap_unordered(int, range(2)):
        pass


def _imap_inside(pool):
    def consume():
        return list(pool.imap(_job, range(2)))

    for thread in [pool.spawn(consume) for _ in range(SIZE)]:
        thread.wait()


def _imap_looked_at(pool):
    results = pool.imap(_job, range(4))
    for _ in results:
        pool.coroutines_running.copy()
    next(results, None)


def _pile(pool):
    pile = greenio.GreenPile(pool)
    for number in range(4):
        pile.spawn(_job, number)
    for _ in pile:
        pass


def _async(pool):
    async def main():
        for _ in range(3):
            await pool.spawn_async(_job)
        await pool.waitall_async()
        async for _ in pool.imap(_job, range(3)):
            pass

    greenio.await_(main())


USES = {
    "spawn": _spawn,
    "spawn_inside": _spawn_inside,
    "spawn_killed": _spawn_killed,
    "imap": _imap,
    "imap_unordered": _imap_unordered,
    "imap_inside": _imap_inside,
    "imap_looked_at": _imap_looked_at,
    "pile": _pile,
    "async": _async,
}


def _quietly(part, *arguments):
    """Also an interrupt that comes late, where nothing waits for it."""
    while True:
        try:
            return part(*arguments)
        except (KeyboardInterrupt, asyncio.CancelledError):
            continue


def _settle(pool):
    for _ in range(200):
        if not pool.running() and pool.free() == SIZE:
            break
        greenio.sleep(0.0005)


def _goes_on(pool):
    with greenio.Timeout(5):
        assert [pool.spawn(int).wait() for _ in range(SIZE + 1)] == [0] * (SIZE + 1)
        assert list(pool.imap(int, range(3))) == [0, 1, 2]


def _at_place(use, number, signalled):
    pool = greenio.GreenPool(SIZE)
    told = []
    try:
        with interrupt_at(number, signalled) as told:
            use(pool)
    except KeyboardInterrupt:
        pass
    _quietly(_settle, pool)
    wrong = ""
    if pool.free() != SIZE or pool.running():
        wrong = f"{pool.free()} free, {pool.running()} running"
    else:
        _quietly(_goes_on, pool)
        _quietly(_settle, pool)
        if pool.free() != SIZE or pool.running() or pool.waiting():
            wrong = f"{pool!r}, {pool.free()} free afterwards"
    return told, wrong


def _all_places(use, signalled):
    number = 0
    failed = []
    while True:
        faulthandler.dump_traceback_later(20, exit=True)
        told, wrong = _at_place(use, number, signalled)
        if wrong:
            failed.append(f"place {number}, {told}: {wrong}")
        if not told:
            break
        number += 1
    faulthandler.cancel_dump_traceback_later()
    return number, failed


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    _injection.look_in(*_rooms)
    places, failed = _all_places(USES[name], kind == "signalled")
    print(places, *failed, sep="\n")
    sys.exit(bool(failed))
