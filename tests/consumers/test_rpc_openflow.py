"""os-ken: its hub, and its OpenFlow controller with switches of our own."""

from __future__ import annotations

import socket
import struct

import pytest

pytest.importorskip("os_ken")

from _pages import Pasted, the_page_has
from _runtimes import PATIENCE, PROGRAMS, Running

pytestmark = pytest.mark.slow

# OpenFlow 1.3.
VERSION = 4
HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 2, 3, 5, 6
PACKET_IN, PACKET_OUT, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 10, 13, 14, 18, 19
FLOOD = 0xFFFFFFFB


class Switch:
    """What a switch says and hears, with no more behind it.

    Args:
        number: Its datapath id.
        port: The controller's.
    """

    def __init__(self, number, port):
        self.number = number
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.stream = self.sock.makefile("rb")
        self.echoes = 0
        self.send(HELLO)

    def send(self, kind, body=b"", xid=0):
        head = struct.pack("!BBHI", VERSION, kind, 8 + len(body), xid)
        self.sock.sendall(head + body)

    def hear(self, wanted):
        """Answer as a switch does until a message of a kind comes; return its body."""
        while True:
            head = self.stream.read(8)
            assert head, "the controller has closed the connection"
            _, kind, length, xid = struct.unpack("!BBHI", head)
            body = self.stream.read(length - 8)
            if kind == ECHO_REQUEST:
                self.echoes += 1
                self.send(ECHO_REPLY, body, xid)
            elif kind == FEATURES_REQUEST:
                features = struct.pack("!QIBB2xII", self.number, 0, 1, 0, 0, 0)
                self.send(FEATURES_REPLY, features, xid)
            elif kind == MULTIPART_REQUEST:
                # Which ports it has: none.
                self.send(MULTIPART_REPLY, body[:2] + struct.pack("!H4x", 0), xid)
            if kind == wanted:
                return body

    def packet_in(self, port, target, source):
        """A frame has come in that no rule is known for."""
        frame = bytes.fromhex(target + source) + b"\x08\x00" + b"data".ljust(46, b"\0")
        # A match with one field: the port that it came by.
        match = struct.pack("!HHIIxxxx", 1, 12, 0x80000004, port)
        head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 0, 0, 0)
        self.send(PACKET_IN, head + match + b"\0\0" + frame)

    def packet_out(self):
        """Where the controller sends a frame."""
        body = self.hear(PACKET_OUT)
        return struct.unpack("!I", body[20:24])[0]

    def close(self):
        self.stream.close()
        self.sock.close()


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture
def controller(runtime, tmp_path):
    """The controller, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(runtime, "openflow", str(port), folder=tmp_path) as running:
        running.hear("ready")

        running.until(lambda: listens(port), "the controller listens")
        yield running, port


def test_switches_learn(controller, runtime):
    running, port = controller
    module = "eventlet" if runtime == "eventlet" else "greenio"
    assert running.said("hub") == [module]
    here, there = "0a0000000001", "0a0000000002"
    switches = [Switch(number, port) for number in range(1, 21)]
    for switch in switches:
        switch.hear(MULTIPART_REQUEST)
    assert {*running.hear("main", 20)} == {str(n) for n in range(1, 21)}
    for switch in switches:
        switch.packet_in(1, there, here)
    assert [switch.packet_out() for switch in switches] == [FLOOD] * 20
    for switch in switches:
        switch.packet_in(2, here, there)
    for switch in switches:
        rule = switch.hear(FLOW_MOD)
        # What is for the first goes to its port from now on.
        assert bytes.fromhex(here) in rule
        assert switch.packet_out() == 1
    for switch in switches:
        # Each is asked whether it is still there.
        while switch.echoes < 2:
            switch.hear(ECHO_REQUEST)
        switch.close()
    everybody = {str(n) for n in range(1, 21)}
    running.until(lambda: everybody <= {*running.said("dead")}, "all are gone")


def test_the_command_of_the_page(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = (PROGRAMS / "openflow.py").read_text()
    # The variable is what the page sets.
    program = program.replace('os.environ["OSKEN_HUB_TYPE"] = "eventlet"\n', "")
    program = program.replace("sys.argv[1]", f'"{port}"')
    (tmp_path / "controller.py").write_text(program)
    text = "OSKEN_HUB_TYPE=eventlet python -m greenio controller.py"
    with Pasted(the_page_has("howto/openstack.md", text), tmp_path) as controller:
        assert controller.hear(r"(?m)^hub (.*)$")[1] == "greenio"
        controller.hear("(?m)^ready")
        controller.until(lambda: listens(port), "the controller listens")
        switch = Switch(1, port)
        switch.hear(MULTIPART_REQUEST)
        controller.hear("(?m)^main 1$")
        switch.packet_in(1, "0a0000000002", "0a0000000001")
        assert switch.packet_out() == FLOOD
        switch.close()
        controller.hear("(?m)^dead 1$")
