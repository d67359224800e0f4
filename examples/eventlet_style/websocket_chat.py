"""A chat in the browser as eventlet's users write it.

python -m greenio examples/eventlet_style/websocket_chat.py [port]
"""

import sys
from pathlib import Path

import eventlet
from eventlet import websocket, wsgi

PAGE = Path(__file__).with_name("websocket_chat.html").read_bytes()

participants = set()


@websocket.WebSocketWSGI
def handle(ws):
    participants.add(ws)
    try:
        while True:
            m = ws.wait()
            if m is None:
                break
            for p in list(participants):
                p.send(m)
    finally:
        participants.remove(ws)


def dispatch(environ, start_response):
    """Resolves to the web page or the websocket depending on the path."""
    if environ["PATH_INFO"] == "/chat":
        return handle(environ, start_response)
    if environ["PATH_INFO"] != "/":
        start_response("404 Not Found", [("content-type", "text/plain")])
        return [b"not found\n"]
    start_response("200 OK", [("content-type", "text/html; charset=utf-8")])
    return [PAGE]


port = int(sys.argv[1]) if len(sys.argv) > 1 else 7000
listener = eventlet.listen(("127.0.0.1", port))
print(f"chat on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
wsgi.server(listener, dispatch, log_output=False)
