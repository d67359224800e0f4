"""A chat by telnet as eventlet's users write it.

python -m greenio examples/eventlet_style/chat_server.py [port]
"""

import sys

import eventlet

participants = set()


def read_chat_forever(writer, reader):
    line = reader.readline()
    while line:
        print("Chat:", line.strip(), flush=True)
        for p in list(participants):
            try:
                if p is not writer:  # Don't echo
                    p.write(line)
                    p.flush()
            except OSError as e:
                # ignore broken pipes, they just mean the participant
                # closed its connection already
                if e.args[0] != 32:
                    raise
        line = reader.readline()
    participants.remove(writer)
    print("Participant left chat.", flush=True)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 3001
server = eventlet.listen(("127.0.0.1", port))
print("ChatServer starting up on port", server.getsockname()[1], flush=True)
while True:
    try:
        new_connection, address = server.accept()
        print("Participant joined chat.", flush=True)
        new_writer = new_connection.makefile("w")
        participants.add(new_writer)
        eventlet.spawn_n(read_chat_forever, new_writer, new_connection.makefile("r"))
    except (SystemExit, KeyboardInterrupt):
        break
