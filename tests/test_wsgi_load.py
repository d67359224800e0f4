"""Much of everything: bodies, connections, and clients that take their time.

The server runs in a process of its own, so that its memory and descriptors can be seen.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import greenio
from _http import GET, LAST, Answers, read_all, read_answer
from greenio.green import socket

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux tells these things"
)

MIB = 1 << 20

SITE = """
import sys
import greenio
from greenio import hubs, wsgi

hubs.use_hub(sys.argv[1])
BLOCK = bytes(65536)
read = sent = 0

class Green(wsgi.HttpProtocol):
    def __init__(self, *args):
        super().__init__(*args)

class Resting(wsgi.HttpProtocol):
    def get_environ(self):
        return super().get_environ()

class Classic(Resting, Green):
    pass

def app(environ, start_response):
    global read, sent
    path = environ["PATH_INFO"]
    start_response("200 OK", [])
    if path == "/read":
        return [str(read).encode()]
    if path == "/sent":
        return [str(sent).encode()]
    if path == "/up":
        body = environ["wsgi.input"]
        read = 0
        while data := body.read(65536):
            read += len(data)
        return [str(read).encode()]
    if path == "/wait":
        start_response("200 OK", [])
        greenio.sleep(1000)
    if path.startswith("/down"):
        return blocks(int(path[6:]))
    return [b"hello"]

def blocks(size):
    global sent
    sent = 0
    while sent < size:
        sent += len(BLOCK)
        yield BLOCK

listener = greenio.listen(("127.0.0.1", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
kinds = {"classic": Classic, "green": Green, "resting": Resting}
kind = kinds.get(sys.argv[2], wsgi.HttpProtocol)
limits = eval(sys.argv[3])
wsgi.server(listener, app, protocol=kind, log_output=False, **limits)
"""


class Site:
    def __init__(self, loop, path, limits):
        words = [sys.executable, "-c", textwrap.dedent(SITE), loop, path, repr(limits)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def status(self, name):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def forget_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def connect(self):
        sock = greenio.connect(self.address)
        sock.settimeout(50)
        return sock

    def ask(self, path):
        with self.connect() as sock:
            sock.sendall(LAST.replace(b"/ ", path + b" "))
            return Answers(read_all(sock)).body


@contextlib.contextmanager
def running(loop, path="loop", **limits):
    site = Site(loop, path, limits)
    try:
        yield site
    finally:
        site.process.kill()
        site.process.wait()
        site.process.stdout.close()


paths = pytest.mark.parametrize("path", ["loop", "green", "resting", "classic"])
amounts = pytest.mark.parametrize(
    "amount",
    [64 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.stress)],
    ids=["64 MiB", "1 GiB"],
)
# What a server may take more for a body of any length.
ROOM = 8 * MIB


def upload(sock, amount, coding):
    block = bytes(MIB)
    head = b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    if coding == "length":
        sock.sendall(b"%bContent-Length: %d\r\n\r\n" % (head, amount))
    else:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(amount // MIB):
        if coding == "length":
            sock.sendall(block)
        else:
            sock.sendall(b"%x\r\n%b\r\n" % (MIB, block))
    if coding == "chunked":
        sock.sendall(b"0\r\n\r\n")
    return Answers(read_all(sock)).body


@paths
@amounts
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_an_upload_takes_no_more_memory_than_its_blocks(
    amount, coding, path, loop, hub_name
):
    with running(loop, path) as site, site.connect() as sock:
        site.ask(b"/")
        site.forget_peak()
        before = site.status("VmHWM")
        body = upload(sock, amount, coding)
        assert str(amount).encode() in body
        grown = site.status("VmHWM") - before
    print(f"{grown / MIB:.1f} MiB more")
    assert grown < ROOM


@paths
@amounts
def test_a_download_takes_no_more_memory_than_its_blocks(amount, path, loop, hub_name):
    with running(loop, path) as site, site.connect() as sock:
        site.ask(b"/")
        site.forget_peak()
        before = site.status("VmHWM")
        sock.sendall(LAST.replace(b"/ ", b"/down/%d " % amount))
        come = 0
        while data := sock.recv(MIB):
            come += len(data)
        assert come > amount
        grown = site.status("VmHWM") - before
    print(f"{grown / MIB:.1f} MiB more")
    assert grown < ROOM


@paths
def test_who_does_not_read_is_not_sent_more(path, loop, hub_name):
    """Back-pressure both ways: what the system's buffers take, and no more."""
    with running(loop, path) as site, site.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(LAST.replace(b"/ ", b"/down/%d " % (256 * MIB)))
        sent = [-1]
        while len(sent) < 4 or len(set(sent[-3:])) > 1:
            sent.append(int(site.ask(b"/sent").split()[-1]))
            greenio.sleep(0.03)
        assert 0 < sent[-1] < 32 * MIB

        with site.connect() as other:
            other.settimeout(0.2)
            other.sendall(
                b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n"
            )
            pushed = 0
            with pytest.raises(TimeoutError):
                while True:
                    pushed += other.send(bytes(MIB))
            assert pushed < 64 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("path", ["loop", "green"])
def test_a_thousand_slow_clients_keep_nobody_waiting(path, loop, hub_name):
    """Each sends a byte now and then, for ever, and is ended when its time is up."""
    with running(loop, path, header_timeout=1) as site:
        site.ask(b"/")
        before = site.descriptors()
        slow = [site.connect() for _ in range(1000)]
        ended = 0
        for byte in b"GET / HTTP/1.1\r\nX-Endless: " + b"x" * 1000:
            for sock in slow:
                # One that was ended may still take a byte.
                with contextlib.suppress(OSError):
                    sock.send(bytes([byte]))
            assert b"hello" in site.ask(b"/")
            if site.descriptors() <= before + 5:
                ended = 1
                break
        assert ended
        for sock in slow:
            sock.close()


@pytest.mark.stress
@pytest.mark.parametrize("path", ["loop", "green"])
def test_ten_thousand_idle_connections(path, loop, hub_name):
    number = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number + 500:
        pytest.skip(f"only {soft} of {hard} descriptors")
    with running(loop, path, idle_timeout=None, max_size=20_000) as site:
        site.ask(b"/")
        descriptors, memory = site.descriptors(), site.status("VmRSS")
        idle = []
        for _ in range(number):
            sock = site.connect()
            sock.sendall(GET)
            idle.append(sock)
        for sock in idle:
            assert read_answer(sock)[0] == 200
        each = (site.status("VmRSS") - memory) / number
        print(f"{each / 1024:.1f} KiB for each connection that waits")
        # The first connection may have been there still when they were counted.
        assert site.descriptors() >= descriptors + number - 1
        for sock in idle[::100]:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
        for sock in idle:
            sock.close()
        end = 500
        while site.descriptors() > descriptors and end:
            end -= 1
            assert b"hello" in site.ask(b"/")
            greenio.sleep(0.02)
        assert site.descriptors() <= descriptors
        assert each < (8 if path == "loop" else 24) * 1024
