"""A web server as eventlet's users write it.

python -m greenio examples/eventlet_style/wsgi.py [port]
"""

import sys

import eventlet
from eventlet import wsgi


def hello_world(env, start_response):
    if env["PATH_INFO"] != "/":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Not Found\r\n"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!\r\n"]


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
listener = eventlet.listen(("127.0.0.1", port))
print("listening on", listener.getsockname()[1], flush=True)
wsgi.server(listener, hello_world)
