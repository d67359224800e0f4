"""WebSocket (RFC 6455) over a green socket.

* `frames`: masks and frame headers, and how frames are written;
* `deflate`: the extension permessage-deflate (RFC 7692), negotiated and applied;
* `reader`: bytes in, messages and control frames out; it does no I/O;
* `connection`: the object that a handler has, on a socket;
* `handshake`: the WSGI application that turns a request into a connection.
"""
