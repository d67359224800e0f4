"""kazoo with its handler for eventlet: ``zookeeper.py HOSTS``."""

import eventlet

eventlet.monkey_patch()

import sys
import uuid

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout, NodeExistsError, NoNodeError
from kazoo.handlers.eventlet import SequentialEventletHandler
from kazoo.protocol.states import KazooState

ROOT = f"/greenio-{uuid.uuid4().hex[:12]}"


def connect():
    client = KazooClient(sys.argv[1], handler=SequentialEventletHandler(), timeout=10)
    client.start(timeout=60)
    return client


client, other = connect(), connect()
states = []
client.add_listener(states.append)
client.create(f"{ROOT}/data", b"one", makepath=True)
value, stat = client.get(f"{ROOT}/data")
assert (value, stat.version) == (b"one", 0)
for call, error in (
    (lambda: client.get(f"{ROOT}/nothing"), NoNodeError),
    (lambda: client.create(f"{ROOT}/data"), NodeExistsError),
):
    try:
        call()
    except error:
        pass
    else:
        raise AssertionError("no error")

# Many green threads on one connection.
pool = eventlet.GreenPool(50)
paths = [
    *pool.imap(
        lambda n: client.create(f"{ROOT}/many-", str(n).encode(), sequence=True),
        range(200),
    )
]
assert len(set(paths)) == 200
assert [client.get(path)[0] for path in paths] == [str(n).encode() for n in range(200)]
results = [client.get_async(path) for path in paths]
assert [each.get(timeout=60)[0] for each in results] == [
    str(n).encode() for n in range(200)
]
called = eventlet.Event()
client.get_async(paths[0]).rawlink(lambda result: called.send(result.get()))
assert called.wait()[0] == b"0"

# Watches, set off by another client.
seen, changed = [], eventlet.Queue()


@client.DataWatch(f"{ROOT}/data")
def data(value, stat, event):
    changed.put(value)


@client.ChildrenWatch(f"{ROOT}/data")
def children(names):
    seen.append(sorted(names))


assert changed.get(timeout=60) == b"one"
other.set(f"{ROOT}/data", b"two")
assert changed.get(timeout=60) == b"two"
other.create(f"{ROOT}/data/child")
with eventlet.Timeout(60):
    while seen[-1:] != [["child"]]:
        eventlet.sleep(0.01)

# Locks between two clients and their green threads.
inside, most, order = 0, 0, []


def work(who, number):
    global inside, most
    with who.Lock(f"{ROOT}/lock", f"{number}"):
        inside += 1
        most = max(most, inside)
        eventlet.sleep(0.002)
        inside -= 1
        order.append(number)


for each in [
    eventlet.spawn(work, (client, other)[number % 2], number) for number in range(20)
]:
    each.wait()
assert most == 1
assert sorted(order) == [*range(20)]
with client.Lock(f"{ROOT}/lock"):
    try:
        other.Lock(f"{ROOT}/lock").acquire(timeout=0.1)
    except LockTimeout:
        pass
    else:
        raise AssertionError("it is taken")

# Recipes: an election, a barrier, a queue, a counter.
leaders, elected = [], eventlet.Event()
election = client.Election(f"{ROOT}/election", "me")
running = eventlet.spawn(election.run, lambda: (leaders.append("me"), elected.send()))
elected.wait()
running.wait()
assert leaders == ["me"]
queue = client.LockingQueue(f"{ROOT}/queue")
getting = eventlet.spawn(lambda: (queue.get(timeout=60), queue.consume())[0])
other.LockingQueue(f"{ROOT}/queue").put(b"item")
assert getting.wait() == b"item"
counters = [who.Counter(f"{ROOT}/counter") for who in (client, other)]


def count(counter):
    for _ in range(10):
        counter += 1


for each in [eventlet.spawn(count, counter) for counter in counters]:
    each.wait()
assert counters[0].value == 20
barrier = client.Barrier(f"{ROOT}/barrier")
barrier.create()
waiting = eventlet.spawn(other.Barrier(f"{ROOT}/barrier").wait)
eventlet.sleep(0.05)
assert not waiting.dead
barrier.remove()
assert waiting.wait()

# After a lost connection.
client._connection._socket.shutdown(2)
assert client.retry(client.get, f"{ROOT}/data")[0] == b"two"
with eventlet.Timeout(60):
    while states[-1:] != [KazooState.CONNECTED]:
        eventlet.sleep(0.01)
assert KazooState.SUSPENDED in states, states
client.delete(ROOT, recursive=True)
for each in (client, other):
    each.stop()
    each.close()
print("done", type(client.handler).__name__)
