"""The HTTP/1.1 server behind `greenio.wsgi`.

A connection goes one of two ways. On the short one the loop reads the heads of requests, and
a green thread exists only while a request runs (`loop_connection`). On the other, for TLS, a
pool or a protocol of the program's own, a green thread serves the whole connection
(`connection`, `protocol`). What both have in common, from the ground up:

* `settings`, `errors`; `head` and `chunks`, which parse and do no I/O; `logs`;
* `known`, heads that have been read before; `body`, `answer`, `files`, `checks`;
* `exchange`, one request and its answer;
* `connection`; `accepting` and `stalled`, the clients that come and those that do not read;
* `server`, what all connections share; `serve`, the call; `attached` and `command`, the same
  for coroutines and for the command line.
"""
