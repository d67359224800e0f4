"""paramiko's client on a server made of paramiko; both have threads, all of them green."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = pytest.mark.slow

SERVER = """
import queue, socket, threading

key = paramiko.RSAKey.generate(2048)
everybody = threading.Barrier(10)

class Interface(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        right = (username, password) == ("green", "thread")
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, channel_id):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=answer, args=(channel, command)).start()
        return True

def answer(channel, command):
    sent = channel.makefile("rb").read()
    if command.startswith(b"wait"):
        everybody.wait(30)
    channel.sendall(command.split()[-1] + b":" + sent)
    channel.send_exit_status(len(sent) % 256)
    channel.close()

def serve():
    transports = []
    while True:
        connection, _ = listener.accept()
        if not connection.recv(1, socket.MSG_PEEK):
            break
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        transport.start_server(threading.Event(), Interface())
        transports.append(transport)
    connection.close()
    for transport in transports:
        transport.close()

def connect():
    client = paramiko.SSHClient()
    client.get_host_keys().add(f"[127.0.0.1]:{port}", key.get_name(), key)
    client.connect(
        "127.0.0.1", port, "green", "thread",
        allow_agent=False, look_for_keys=False, timeout=30, auth_timeout=30,
    )
    return client

def execute(client, command, data):
    stdin, stdout, _ = client.exec_command(command, timeout=30)
    stdin.write(data)
    stdin.channel.shutdown_write()
    answer = stdout.read()
    assert stdout.channel.recv_exit_status() == len(data) % 256
    return answer

listener = socket.create_server(("127.0.0.1", 0), backlog=50)
port = listener.getsockname()[1]
server = threading.Thread(target=serve)
server.start()
"""

STOP = """
socket.create_connection(("127.0.0.1", port)).close()
server.join(30)
assert not server.is_alive()
listener.close()
"""


def test_paramiko_overlaps(hub, late):
    """Ten connections with a command each; none is answered before all are there."""
    run_client(
        hub,
        "import paramiko",
        SERVER
        + """
def work(number):
    with connect() as client:
        return execute(client, f"wait {number}", b"x" * number)

with ticking() as ticker:
    expected = [b"%d:%s" % (number, b"x" * number) for number in range(10)]
    assert in_green_threads(10, work) == expected
    assert ticker.ticks
"""
        + STOP,
        late=late,
    )


def test_paramiko_shares_a_connection(hub):
    """Channels of two hundred green threads, ten at once, in one connection."""
    run_client(
        hub,
        "import paramiko",
        SERVER
        + """
from greenio import GreenPool
data = b"y" * 100_000

with ticking() as ticker, connect() as client:
    def work(number):
        return execute(client, f"echo {number}", data)

    answers = list(GreenPool(10).imap(work, range(200)))
    assert ticker.ticks
assert answers == [b"%d:%s" % (number, data) for number in range(200)]
"""
        + STOP,
    )
