"""One web application: pages, a stream, an upload and a WebSocket, in green threads.

    python examples/webapp.py [--port 8000]

Open the address that it prints. The page tries everything and reports what came of it,
which is printed here too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import greenio
from greenio import wsgi
from greenio.websocket import WebSocketWSGI

PAGE = Path(__file__).with_name("webapp.html").read_bytes()
TEXT = [("Content-Type", "text/plain; charset=utf-8")]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def page(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Send a line every now and then; the browser shows each as it comes."""
    # Otherwise short pieces are collected before they are sent.
    environ["eventlet.minimum_write_chunk_size"] = 0
    start_response("200 OK", TEXT)
    for number in range(5):
        yield b"line %d\n" % number
        greenio.sleep(0.05)


def upload(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Read a body of any size, a piece at a time."""
    digest, size = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
        size += len(piece)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"size": size, "sha256": digest.hexdigest()}).encode()]


@WebSocketWSGI
def shout(ws: Any) -> None:
    for message in ws:
        ws.send(message.upper())


def report(environ: Environ, start_response: StartResponse) -> list[bytes]:
    print("the page says", environ["wsgi.input"].read().decode(), flush=True)
    start_response("204 No Content", [])
    return []


ROUTES = {
    ("GET", "/"): page,
    ("GET", "/stream"): stream,
    ("POST", "/upload"): upload,
    ("GET", "/shout"): shout,
    ("POST", "/report"): report,
}


def app(environ: Environ, start_response: StartResponse) -> Any:
    route = ROUTES.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
    if route is None:
        start_response("404 Not Found", TEXT)
        return [b"There is nothing here.\n"]
    return route(environ, start_response)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    listener = greenio.listen(("127.0.0.1", parser.parse_args().port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    wsgi.server(listener, app, log_output=False)


if __name__ == "__main__":
    main()
