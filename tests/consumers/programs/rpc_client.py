"""A client of oslo.messaging: ``rpc_client.py URL TOPIC SCENE``; a scene is a function."""

import eventlet

eventlet.monkey_patch()

import logging
import sys
import uuid

import oslo_messaging as messaging
from oslo_config import cfg

url, topic, scene = sys.argv[1:]
conf = cfg.CONF
conf([], project="example")
transport = messaging.get_rpc_transport(
    conf, url, allowed_remote_exmods=["builtins", "exceptions"]
)
conf.set_override("heartbeat_timeout_threshold", 4, "oslo_messaging_rabbit")
conf.set_override("heartbeat_rate", 3, "oslo_messaging_rabbit")
conf.set_override("rpc_conn_pool_size", 100, "oslo_messaging_rabbit")
logging.basicConfig(level=logging.WARNING)
client = messaging.get_rpc_client(
    transport, messaging.Target(topic=topic, version="1.1")
)
ticks = []


def ticking():
    while True:
        ticks.append(1)
        eventlet.sleep(0.05)


def call(method, timeout=60, **arguments):
    return client.prepare(timeout=timeout).call({"user": "me"}, method, **arguments)


def calls():
    """500 calls one after the other and together, 50 that overlap."""
    for number in range(100):
        assert call("echo", value=number) == ["me", number]
    pool = eventlet.GreenPool(50)
    answers = pool.imap(
        lambda n: call("echo", value={"n": n, "x": "é" * n}), range(400)
    )
    assert [answer[1]["n"] for answer in answers] == [*range(400)]
    meeting = [eventlet.spawn(call, "meet", timeout=120, count=50) for _ in range(50)]
    assert [each.wait() for each in meeting] == [50] * 50


def errors():
    """Errors of the other side, and what nobody answers in time."""
    try:
        call("fail", text="from afar")
    except LookupError as error:
        assert "from afar" in str(error)
    else:
        raise AssertionError("no error")
    try:
        call("expected")
    except messaging.RemoteError as error:
        assert error.exc_type == "Busy", error.exc_type
    else:
        raise AssertionError("no error")
    try:
        call("no_such_method")
    except (
        messaging.RemoteError,
        messaging.UnsupportedVersion,
        AttributeError,
    ) as error:
        assert "no_such_method" in str(error)
    else:
        raise AssertionError("no error")
    late = [eventlet.spawn(timed_out, "nap", seconds=3) for _ in range(10)]
    assert all(each.wait() for each in late)
    assert timed_out("echo", topic=f"nobody-{uuid.uuid4().hex}", value=1)
    with eventlet.Timeout(0.3, False):
        call("nap", seconds=5)
        raise AssertionError("not interrupted")
    # Answers that come late hurt nobody.
    eventlet.sleep(2.5)
    assert call("echo", value="after") == ["me", "after"]
    client.cast({}, "note", text="cast")
    fan = client.prepare(fanout=True)
    fan.cast({}, "note", text="fanout")


def timed_out(method, topic=None, **arguments):
    options = {"timeout": 1} | ({"topic": topic} if topic else {})
    try:
        client.prepare(**options).call({}, method, **arguments)
    except messaging.MessagingTimeout:
        return True
    return False


def long():
    """A call longer than three heartbeats, while others go on."""
    ticker = eventlet.spawn(ticking)
    slow = eventlet.spawn(call, "nap", seconds=12)
    while not slow.dead:
        assert call("echo", value="meanwhile") == ["me", "meanwhile"]
        eventlet.sleep(0.5)
    assert slow.wait() == 12
    assert len(ticks) > 20, len(ticks)
    ticker.kill()


def blocked():
    """A server that does nothing for 7 s, longer than the broker waits for a heartbeat."""
    blocking = eventlet.spawn(call, "block", seconds=7)
    others = [eventlet.spawn(call, "echo", value=n) for n in range(20)]
    assert [each.wait()[1] for each in others] == [*range(20)]
    assert blocking.wait() == "unblocked"
    for number in range(20):
        assert call("echo", value=number) == ["me", number]


def notifications():
    """Notifications and their listener, with a requeue."""
    seen, requeued = [], []

    class Endpoint:
        def info(self, context, publisher, kind, payload, metadata):
            if payload["n"] == 3 and not requeued:
                requeued.append(3)
                return messaging.NotificationResult.REQUEUE
            seen.append(payload["n"])
            return messaging.NotificationResult.HANDLED

    ways = messaging.get_notification_transport(conf, url)
    listener = messaging.get_notification_listener(
        ways,
        [messaging.Target(topic=f"{topic}-notes")],
        [Endpoint()],
        executor="eventlet",
        allow_requeue=True,
    )
    listener.start()
    notifier = messaging.Notifier(
        ways, "publisher", driver="messaging", topics=[f"{topic}-notes"]
    )
    for number in range(50):
        notifier.info({}, "kind", {"n": number})
    with eventlet.Timeout(60):
        while len(seen) < 50:
            eventlet.sleep(0.01)
    assert sorted(seen) == [*range(50)] and requeued == [3]
    listener.stop()
    listener.wait()


globals()[scene]()
transport.cleanup()
print("done", eventlet.sleep.__module__)
