"""The shop's HTTP server, as eventlet's users write it.

    python -m greenio app.py

One green thread for each connection, a pool that bounds them, and blocking calls all
the way down. Nothing in these files knows of greenio: eventlet runs them, too.
"""

import eventlet

eventlet.monkey_patch()

import json
import re
import signal
from http.server import BaseHTTPRequestHandler

import settings
import shop
import worker
from eventlet.event import Event

# -- what each request does -------------------------------------------------------------


def get_health(request):
    request.answer(200, {"stage": 1})


def add_product(request):
    request.answer(201, shop.add_product(**request.read_json()))


def get_product(request, number):
    product, is_copy = shop.get_product(int(number))
    request.answer(200, product, {"X-Cache": "hit" if is_copy else "miss"})


def place_order(request):
    request.answer(201, shop.place_order(**request.read_json()))


def get_order(request, number):
    request.answer(200, shop.get_order(int(number)))


def pay_order(request, number):
    request.answer(202, shop.pay_order(int(number)))


def follow_order(request, number):
    """Send a line of JSON for each event; an empty line means that there was none."""
    shop.get_order(int(number))
    request.send_response(200)
    request.send_header("Content-Type", "application/x-ndjson")
    request.end_headers()
    for event in shop.follow_order(int(number)):
        line = "\n" if event is None else json.dumps(event) + "\n"
        request.wfile.write(line.encode())


def get_report(request):
    request.answer(200, shop.get_report())


ROUTES = [
    ("GET", re.compile(r"/health"), get_health),
    ("POST", re.compile(r"/products"), add_product),
    ("GET", re.compile(r"/products/(\d+)"), get_product),
    ("POST", re.compile(r"/orders"), place_order),
    ("GET", re.compile(r"/orders/(\d+)"), get_order),
    ("POST", re.compile(r"/orders/(\d+)/payment"), pay_order),
    ("GET", re.compile(r"/orders/(\d+)/events"), follow_order),
    ("GET", re.compile(r"/report"), get_report),
]

# -- HTTP -------------------------------------------------------------------------------


class Request(BaseHTTPRequestHandler):
    """One request; its connection is closed afterwards, as HTTP/1.0 has it."""

    timeout = 10

    def do_GET(self):
        try:
            self.dispatch()
        except (ValueError, TypeError) as error:
            self.answer(400, {"error": str(error)})
        except shop.NotFoundError as error:
            self.answer(404, {"error": str(error)})
        except shop.RefusedError as error:
            self.answer(409, {"error": str(error)})
        except ConnectionError:
            pass  # the client has gone

    do_POST = do_GET  # noqa: N815 - the standard library's name

    def dispatch(self):
        for method, path, function in ROUTES:
            match = path.fullmatch(self.path)
            if match and method == self.command:
                return function(self, *match.groups())
        raise shop.NotFoundError(self.path)

    def read_json(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for header in dict(headers).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def serve(sock, address):
    try:
        Request(sock, address, None)
    finally:
        sock.close()


def accept(listener, connections):
    while True:
        connections.spawn_n(serve, *listener.accept())


# -- starting and stopping --------------------------------------------------------------


def main():
    stopped = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.ready() or stopped.send())
    shop.start()
    listener = eventlet.listen(("127.0.0.1", settings.PORT), backlog=1000)
    connections = eventlet.GreenPool(1000)
    acceptor = eventlet.spawn(accept, listener, connections)
    jobs = eventlet.spawn(worker.run)
    print(f"shop on port {listener.getsockname()[1]}", flush=True)

    stopped.wait()
    acceptor.kill()
    listener.close()
    shop.stop()
    connections.waitall()
    jobs.wait()
    shop.close()


if __name__ == "__main__":
    main()
