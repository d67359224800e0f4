"""A server of oslo.messaging with the executor eventlet: ``rpc_server.py URL TOPIC``."""

import eventlet

eventlet.monkey_patch()

import logging
import os
import signal
import sys

import oslo_messaging as messaging
from eventlet import patcher
from oslo_config import cfg

url, topic = sys.argv[1:]
conf = cfg.CONF
conf([], project="example")
transport = messaging.get_rpc_transport(conf, url)
conf.set_override("heartbeat_timeout_threshold", 4, "oslo_messaging_rabbit")
conf.set_override("heartbeat_rate", 3, "oslo_messaging_rabbit")
conf.set_override("rpc_conn_pool_size", 100, "oslo_messaging_rabbit")
logging.basicConfig(level=logging.WARNING)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Busy(Exception):
    pass


class Endpoint:
    target = messaging.Target(version="1.3")
    here = 0
    complete = eventlet.event.Event()

    def echo(self, context, value):
        return [context.get("user"), value]

    def nap(self, context, seconds):
        eventlet.sleep(seconds)
        return seconds

    def meet(self, context, count):
        """Return when so many calls are in here at once."""
        Endpoint.here += 1
        if Endpoint.here == count:
            Endpoint.complete.send()
        Endpoint.complete.wait()
        return count

    def fail(self, context, text):
        raise LookupError(text)

    @messaging.expected_exceptions(Busy)
    def expected(self, context):
        raise Busy("as expected")

    def block(self, context, seconds):
        """Hold up the whole process, as code does that computes."""
        say("blocking")
        patcher.original("time").sleep(seconds)
        return "unblocked"

    def note(self, context, text):
        say("note", text)


server = messaging.get_rpc_server(
    transport,
    messaging.Target(topic=topic, server="one"),
    [Endpoint()],
    executor="eventlet",
    access_policy=messaging.DefaultRPCAccessPolicy,
)
stopping = eventlet.event.Event()
signal.signal(signal.SIGTERM, lambda *_: eventlet.spawn(stopping.send))
server.start()
say("ready", eventlet.sleep.__module__)
stopping.wait()
say("stopping")
server.stop()
server.wait()
transport.cleanup()
say("end")
