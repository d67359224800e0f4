"""Green `epoll` objects that several use at once."""

from __future__ import annotations

import os
import select as plain_select

import pytest

import greenio
from _sockets import until_parked
from _support import until
from greenio import patcher
from greenio.green import select

pytestmark = [
    pytest.mark.usefixtures("hub_name"),
    pytest.mark.skipif(not hasattr(plain_select, "epoll"), reason="no epoll here"),
]


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.mark.parametrize("closer", ["green thread", "OS thread"])
def test_who_polls_goes_on_when_it_is_closed(pipe, closer):
    """As with the system's: the descriptor goes, what it stands for stays."""
    reader, writer = pipe
    poller = select.epoll()
    poller.register(reader, select.EPOLLIN)
    waiting = greenio.spawn(poller.poll)
    late = greenio.spawn(poller.poll, 0.05)
    until_parked(waiting)
    until(lambda: late.dead or len(greenio.hubs.get_hub().get_readers()) == 2)
    if closer == "OS thread":
        patcher.original("threading").Thread(target=poller.close).start()
        until(lambda: poller.closed)
    else:
        poller.close()
    assert late.wait() == []
    assert not waiting.dead
    os.write(writer, b"x")
    assert waiting.wait() == [(reader, select.EPOLLIN)]


def test_several_may_poll_one_epoll(pipe):
    reader, writer = pipe
    with select.epoll() as poller:
        poller.register(reader, select.EPOLLIN)
        several = [greenio.spawn(poller.poll) for _ in range(2)]
        for one in several:
            until_parked(one)
        os.write(writer, b"x")
        for one in several:
            assert one.wait() == [(reader, select.EPOLLIN)]
