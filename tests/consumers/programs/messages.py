"""kombu by itself: pools, consumers and heartbeats in green threads: ``messages.py URL``."""

import eventlet

eventlet.monkey_patch()

import sys
import uuid

from kombu import Connection, Consumer, Exchange, Queue, pools
from kombu.mixins import ConsumerMixin
from kombu.utils.compat import detect_environment

url = sys.argv[1]
assert detect_environment() == "eventlet"
name = f"greenio-{uuid.uuid4().hex[:12]}"
exchange = Exchange(name, type="direct", durable=False, auto_delete=True)
queue = Queue(name, exchange, routing_key="key", durable=False, auto_delete=True)
seen = []


class Worker(ConsumerMixin):
    def __init__(self, connection):
        self.connection = connection
        self.ready = eventlet.Event()

    def get_consumers(self, consumer, channel):
        return [consumer([queue], callbacks=[self.take], prefetch_count=20)]

    def on_consume_ready(self, connection, channel, consumers, **_):
        self.ready.send()

    def take(self, body, message):
        eventlet.spawn(self.work, body, message)

    def work(self, body, message):
        eventlet.sleep(0.01)
        seen.append(body["n"])
        message.ack()


with Connection(url, heartbeat=4) as connection:
    worker = Worker(connection)
    running = eventlet.spawn(worker.run)
    worker.ready.wait()
    producers = pools.Producers(limit=5)

    def publish(number):
        with producers[Connection(url)].acquire(block=True, timeout=60) as producer:
            producer.publish(
                {"n": number}, exchange=exchange, routing_key="key", retry=True
            )

    pool = eventlet.GreenPool(30)
    list(pool.imap(publish, range(200)))
    with eventlet.Timeout(60):
        while len(seen) < 200:
            eventlet.sleep(0.01)
    assert sorted(seen) == [*range(200)]
    worker.should_stop = True
    running.wait()
    pools.reset()


# Several in one process wait at the same time, each with a limit of its own.
def nothing(seconds):
    with Connection(url) as own:
        mine = Queue(f"{name}-{seconds}", durable=False, auto_delete=True)
        with Consumer(own, [mine], callbacks=[seen.append]):
            try:
                own.drain_events(timeout=seconds)
            except TimeoutError:
                return seconds
    raise AssertionError("an event")


waits = [0.2, 0.3, 0.4]
assert [each.wait() for each in [eventlet.spawn(nothing, s) for s in waits]] == waits
print("done")
