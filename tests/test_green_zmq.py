"""Green zmq sockets."""

from __future__ import annotations

import pytest

import greenio
from _sockets import in_thread
from _support import settle
from greenio.green import socket

zmq = pytest.importorskip("greenio.green.zmq")
import zmq as plain_zmq  # noqa: E402 - only if there is one

pytestmark = pytest.mark.usefixtures("hub_name")


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture
def connected(context):
    """Make two sockets that are connected."""

    made = []

    def make(first, second, transport="tcp", **options):
        left, right = context.socket(first), context.socket(second)
        made.extend((left, right))
        for sock in (left, right):
            for name, value in options.items():
                setattr(sock, name, value)
        if transport == "tcp":
            port = left.bind_to_random_port("tcp://127.0.0.1")
            right.connect(f"tcp://127.0.0.1:{port}")
        else:
            left.bind("inproc://here")
            right.connect("inproc://here")
        return left, right

    yield make
    for sock in made:
        sock.close(0)


def parked(thread):
    """Let a green thread run until it waits."""
    settle()
    assert thread.gr_frame is not None


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
def test_request_and_reply(connected, transport):
    server, client = connected(zmq.REP, zmq.REQ, transport)
    assert type(client) is zmq.Socket
    assert isinstance(client, plain_zmq.Socket)

    def serve():
        while True:
            server.send_json({"got": server.recv_string()})

    thread = greenio.spawn(serve)
    for word in ("one", "two", "three"):
        client.send_string(word)
        assert client.recv_json() == {"got": word}
    parked(thread)
    thread.kill()


def test_parts_stay_together(connected):
    pull, push = connected(zmq.PULL, zmq.PUSH)
    messages = [[b"%d" % number] * 3 for number in range(20)]
    for message in messages:
        greenio.spawn(push.send_multipart, message)
    assert sorted(pull.recv_multipart() for _ in messages) == sorted(messages)


def test_a_full_queue_is_waited_for(connected):
    pull, push = connected(zmq.PULL, zmq.PUSH, "inproc", sndhwm=1, rcvhwm=1)
    sent = []

    def send():
        for number in range(100):
            push.send(b"%d" % number)
            sent.append(number)

    thread = greenio.spawn(send)
    parked(thread)
    assert 0 < len(sent) < 100
    assert [int(pull.recv()) for _ in range(100)] == list(range(100))
    thread.wait()


def test_one_sends_while_another_receives(connected):
    """What one learns on the way is not lost on the other."""
    left, right = connected(zmq.DEALER, zmq.DEALER, "inproc", sndhwm=1, rcvhwm=1)
    count = 300

    def send(sock):
        for number in range(count):
            sock.send(b"%d" % number)

    def receive(sock):
        return [int(sock.recv()) for _ in range(count)]

    receivers = [greenio.spawn(receive, sock) for sock in (left, right)]
    senders = [greenio.spawn(send, sock) for sock in (left, right)]
    for thread in receivers:
        assert thread.wait() == list(range(count))
    for thread in senders:
        thread.wait()


def test_several_receive(connected):
    pull, push = connected(zmq.PULL, zmq.PUSH)
    threads = [greenio.spawn(pull.recv) for _ in range(5)]
    greenio.sleep(0)
    for number in range(5):
        push.send(b"%d" % number)
    assert sorted(int(thread.wait()) for thread in threads) == list(range(5))


def test_into_a_buffer(connected):
    if not hasattr(zmq.Socket, "recv_into"):
        pytest.skip("pyzmq is too old")
    pull, push = connected(zmq.PULL, zmq.PUSH)
    buffer = bytearray(10)
    thread = greenio.spawn(pull.recv_into, buffer)
    parked(thread)
    push.send(b"hello")
    assert thread.wait() == 5
    assert buffer[:5] == b"hello"


def test_too_late(connected):
    pull, _ = connected(zmq.PULL, zmq.PUSH)
    with pytest.raises(zmq.Again):
        pull.recv(zmq.NOBLOCK)
    for limit in (0, 20):
        pull.rcvtimeo = limit
        with pytest.raises(zmq.Again):
            pull.recv()
    assert not pull.poll(20)
    with greenio.Timeout(0.02, False):
        pull.rcvtimeo = -1
        pull.recv()
    assert not pull._waiting


def test_closing_wakes(connected):
    pull, _ = connected(zmq.PULL, zmq.PUSH)
    thread = greenio.spawn(pull.recv)
    parked(thread)
    pull.close()
    with pytest.raises(zmq.ZMQError) as caught:
        thread.wait()
    assert caught.value.errno == zmq.ENOTSOCK


def test_poller(connected):
    pull, push = connected(zmq.PULL, zmq.PUSH)
    left, right = socket.socketpair()
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    poller.register(left, zmq.POLLIN)
    with left, right:
        assert poller.poll(10) == []
        thread = greenio.spawn(poller.poll)
        parked(thread)
        push.send(b"x")
        assert thread.wait() == [(pull, zmq.POLLIN)]
        pull.recv()
        thread = greenio.spawn(poller.poll, 20_000)
        parked(thread)
        right.send(b"x")
        assert thread.wait() == [(left.fileno(), zmq.POLLIN)]
        assert pull.poll(0) == 0
        thread = greenio.spawn(pull.poll)
        parked(thread)
        push.send(b"x")
        assert thread.wait() == zmq.POLLIN
        assert zmq.select([pull, left], [push], [], 20) == ([pull, left], [push], [])


def test_a_look_at_the_state_wakes_others(connected):
    pull, push = connected(zmq.PULL, zmq.PUSH)
    thread = greenio.spawn(pull.recv)
    parked(thread)
    push.send(b"x")
    while not thread.dead:
        # It takes the news away from the descriptor.
        pull.get(zmq.EVENTS)
        greenio.sleep(0)
    assert thread.wait() == b"x"


def test_with_a_real_thread(context):
    """The peer is pyzmq's own, in an OS thread; and a green one where there is no hub."""
    with context.socket(zmq.REP) as server:
        port = server.bind_to_random_port("tcp://127.0.0.1")

        def ask(kind):
            with kind.Context() as own, own.socket(zmq.REQ) as client:
                client.connect(f"tcp://127.0.0.1:{port}")
                client.send(b"question")
                return client.recv()

        def serve():
            for _ in range(2):
                assert server.recv() == b"question"
                server.send(b"answer")

        thread = greenio.spawn(serve)
        for kind in (plain_zmq, zmq):
            assert greenio.tpool.execute(ask, kind) == b"answer"
        thread.wait()
    assert in_thread(lambda: zmq.Context.instance().closed) is False
    zmq.Context.instance().term()


def test_names():
    for name in ("PUSH", "ZMQError", "Frame", "Context", "utils"):
        assert hasattr(zmq, name)
    assert not hasattr(zmq, "proxy")


def test_calls_that_do_not_wait(connected):
    left, right = connected(zmq.PUSH, zmq.PULL)
    buffer = bytearray(10)
    for receive in (right.recv, *filter(None, [getattr(right, "recv_into", None)])):
        arguments = () if receive == right.recv else (buffer,)
        with pytest.raises(zmq.Again):
            receive(*arguments, flags=zmq.NOBLOCK)
    greenio.with_timeout(20, left.send, b"first")
    assert right.recv() == b"first"
    left.send(b"second", zmq.NOBLOCK)
    assert right.recv() == b"second"


def test_a_poller_of_sockets_of_both_kinds(context, connected):
    _, right = connected(zmq.PUSH, zmq.PULL)
    with plain_zmq.Context() as other, other.socket(plain_zmq.PULL) as plain:
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        with context.socket(zmq.PUSH) as sender:
            sender.connect(f"tcp://127.0.0.1:{port}")
            poller = zmq.Poller()
            poller.register(right, zmq.POLLIN)
            poller.register(plain, zmq.POLLIN)
            assert poller.poll(0) == []
            greenio.spawn_after(0.001, sender.send, b"x")
            while not (ready := dict(poller.poll(1000))):
                pass
            assert ready == {plain: zmq.POLLIN}
            sender.close(0)
