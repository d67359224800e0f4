"""Services of nameko, run by ``nameko run``: RPC, timer, HTTP, events, WebSocket."""

import os
import time

import eventlet
from nameko.dependency_providers import DependencyProvider
from nameko.events import EventDispatcher, event_handler
from nameko.rpc import RpcProxy, rpc
from nameko.timer import timer
from nameko.web.handlers import http
from nameko.web.websocket import WebSocketHubProvider
from nameko.web.websocket import rpc as websocket_rpc
from werkzeug.wrappers import Response


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Counter(DependencyProvider):
    """What all workers of a container share."""

    def setup(self):
        self.running = self.most = 0

    def get_dependency(self, worker_ctx):
        return self


class Inner:
    name = "inner"
    counter = Counter()

    @rpc
    def double(self, value):
        return value * 2

    @rpc
    def nap(self, seconds):
        self.counter.running += 1
        self.counter.most = max(self.counter.most, self.counter.running)
        time.sleep(seconds)
        self.counter.running -= 1
        return self.counter.most

    @rpc
    def fail(self, text):
        raise LookupError(text)

    @event_handler("outer", "happened")
    def happened(self, payload):
        say("event", payload)


class Outer:
    name = "outer"
    inner = RpcProxy("inner")
    dispatch = EventDispatcher()
    hub = WebSocketHubProvider()
    ticks = 0

    @timer(interval=0.2)
    def tick(self):
        say("tick", eventlet.sleep.__module__)

    @rpc
    def quadruple(self, value):
        return self.inner.double(self.inner.double(value))

    @rpc
    def many(self, count):
        calls = [self.inner.double.call_async(n) for n in range(count)]
        return [each.result() for each in calls]

    @http("GET", "/double/<int:value>")
    def over_http(self, request, value):
        self.dispatch("happened", value)
        return str(self.inner.double(value))

    @http("POST", "/echo")
    def echo(self, request):
        return 201, request.get_data(as_text=True)

    @http("GET", "/fail")
    def failing(self, request):
        raise LookupError("for the client: nameko shows it")

    @http("GET", "/slow")
    def slow(self, request):
        say("slow")
        time.sleep(1)
        return Response("slow")

    @websocket_rpc
    def subscribe(self, socket_id):
        self.hub.subscribe(socket_id, "channel")
        self.hub.broadcast("channel", "news", {"from": "outer"})
        return "subscribed"
