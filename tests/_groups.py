"""What the tests of `GreenGroup` share."""

from __future__ import annotations

import pytest

import greenio
from greenio import GreenGroup, run_green, sleep, spawn

PARENTS = ("main", "green thread", "portal", "coroutine")
FOREVER = 1000


@pytest.fixture(params=PARENTS)
def block(request, hub_name, run_async):
    """Run `body(group)` inside the block of a group; return what came of the block.

    The body is in blocking style. In a coroutine it runs in a green thread, which gets
    what interrupts the coroutine.
    """

    def green(body):
        with GreenGroup() as group:
            return body(group)

    async def asynchronous(body):
        async with GreenGroup() as group:
            return await run_green(body, group)

    def run(body):
        if request.param == "main":
            return green(body)
        if request.param == "green thread":
            return spawn(green, body).wait()
        if request.param == "coroutine":
            return run_async(lambda: asynchronous(body))

        @greenio.portal
        async def main():
            return green(body)

        return run_async(main)

    run.parent = request.param
    return run


def fail(error):
    raise error


def until_killed(seen, name="child"):
    try:
        sleep(FOREVER)
    except BaseException as exc:
        seen.append((name, type(exc)))
        raise
