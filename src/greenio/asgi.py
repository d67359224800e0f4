"""A WSGI application (Flask, Django, ...) inside an ASGI one, one green thread each.

`WSGIMiddleware` makes an ASGI application of a WSGI application, to be mounted in
FastAPI or Starlette or served by uvicorn, hypercorn or another ASGI server. What the
WSGI application waits for, in blocking style, it waits for in the server's event loop,
so the number of requests at a time is not limited by a pool of threads.
"""

from __future__ import annotations

from ._asgi.middleware import WSGIMiddleware as WSGIMiddleware
from ._asgi.request import IncompleteResponseError as IncompleteResponseError
from ._std.public_names import claim

__all__ = ["IncompleteResponseError", "WSGIMiddleware"]

claim(globals())
