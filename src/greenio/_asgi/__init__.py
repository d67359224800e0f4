"""A WSGI application inside an ASGI one; see `greenio.asgi`."""
