"""Blocking clients of python-socketio's in green threads, for eventlet and for greenio."""

import eventlet

eventlet.monkey_patch()

import sys
import threading

import engineio
import socketio

COUNT = 30
# Of the packets that come by one poll, it understands sixteen.
engineio.payload.Payload.max_decode_packets = 1000


def talk(url, number):
    told = []
    came = threading.Event()
    with socketio.SimpleClient() as client:
        transport = ["websocket", "polling"][number % 2]
        client.connect(url, transports=[transport], wait_timeout=40)
        assert client.transport == transport
        assert client.receive(timeout=40)[0] == "welcome"
        assert client.call("echo", {"blob": b"x" * number}, timeout=40) == {
            "blob": b"x" * number
        }
    client = socketio.Client()

    @client.on("number")
    def count(each):
        told.append(each)
        if each == 9:
            came.set()

    client.connect(url, wait_timeout=40)
    assert client.call("slow", 0.2, timeout=40) == 0.2
    client.emit("count", 10)
    assert came.wait(40)
    client.disconnect()
    assert told == list(range(10))
    return True


pool = eventlet.GreenPool(COUNT)
good = sum(pool.imap(lambda number: talk(sys.argv[1], number), range(COUNT)))
print(f"{good} of {COUNT}")
