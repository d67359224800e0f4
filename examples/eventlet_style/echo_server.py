"""An echo server as eventlet's users write it.

python -m greenio examples/eventlet_style/echo_server.py [port]
"""

import sys

import eventlet


def handle(sock, addr):
    print("client connected", addr[0], flush=True)
    stream = sock.makefile("rw")
    while True:
        line = stream.readline()
        if not line:
            print("client disconnected", addr[0], flush=True)
            break
        stream.write(line)
        stream.flush()
    stream.close()
    sock.close()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
server = eventlet.listen(("127.0.0.1", port))
print("listening on port", server.getsockname()[1], flush=True)
while True:
    new_sock, address = server.accept()
    eventlet.spawn_n(handle, new_sock, address)
