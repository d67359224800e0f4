"""Tracebacks keep the user's frames between waits, without greenio's, and do not grow."""

from __future__ import annotations

import traceback

import pytest

import greenio
from _support import settle
from greenio import GreenPile, GreenPool, hubs


def fail():
    raise ValueError("inside")


def _frames(call):
    with pytest.raises(ValueError, match="inside") as caught:
        call()
    return traceback.extract_tb(caught.value.__traceback__)


def _wait(function):
    return greenio.spawn(function).wait()


def _imap(function):
    return list(GreenPool(2).imap(lambda _: function(), [1]))


def _imap_unordered(function):
    return list(GreenPool(2).imap_unordered(lambda _: function(), [1]))


def _pile(function):
    pile = GreenPile(2)
    pile.spawn(function)
    return list(pile)


def _joinall(function):
    return greenio.joinall([greenio.spawn(function)], raise_error=True)


def _await(function):
    async def coroutine():
        return await greenio.run_green(function)

    return greenio.await_(coroutine())


@pytest.mark.parametrize(
    "wait", [_wait, _imap, _imap_unordered, _pile, _joinall, _await]
)
def test_the_users_frames_between_waits_are_kept(hub_name, wait):
    def load_user():
        return wait(fail)

    def handle_request():
        return wait(load_user)

    frames = _frames(lambda: _wait(lambda: _wait(handle_request)))
    names = [frame.name for frame in frames]
    for name in ("handle_request", "load_user", "fail"):
        assert name in names
    assert names.index("handle_request") < names.index("load_user")
    assert names[-1] == "fail"


def test_greenios_own_frames_are_left_out_between_them(hub_name):
    def inner():
        return _wait(fail)

    def outer():
        return _wait(inner)

    frames = _frames(lambda: _wait(outer))
    names = [frame.name for frame in frames]
    at = names.index("outer")
    assert names[at:] == ["outer", "_wait", "inner", "_wait", "fail"]


def test_raised_again_it_does_not_grow(hub_name):
    thread = greenio.spawn(fail)

    def again():
        try:
            thread.wait()
        except ValueError:
            raise

    depths = {len(_frames(lambda: _wait(again))) for _ in range(5)}
    assert len(depths) == 1


def test_a_generator_that_has_handled_a_failure_goes_on(hub_name):
    """It is in the traceback of who raises the same exception again."""
    hubs.get_hub().loop.set_exception_handler(lambda *_: None)

    def handles():
        try:
            fail()
        except ValueError as error:
            yield error
        yield "went on"

    handling = handles()

    def raises(error):
        raise error

    failed = greenio.spawn(raises, next(handling))
    settle()
    with pytest.raises(ValueError):
        failed.wait()
    assert next(handling) == "went on"
