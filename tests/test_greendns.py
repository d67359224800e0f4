"""`greenio.support.greendns`: eventlet's names for looking up names."""

from __future__ import annotations

import socket
import threading
import time

import pytest

import greenio
import greenio.green.socket
from _fresh import run
from _sockets import in_thread
from greenio.support import greendns

pytest.importorskip("dns")
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset


class NameServer:
    """Answers questions by UDP, in an OS thread."""

    RECORDS = {
        ("www.example.", "A"): ["192.0.2.1", "192.0.2.2"],
        ("www.example.", "AAAA"): ["2001:db8::1"],
        ("alias.example.", "CNAME"): ["www.example."],
    }

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.asked = []
        self.silent = False
        # What is sent before the answer: given the question's bytes and the answer's.
        self.before = lambda question, answer: []
        self.thread = threading.Thread(target=self._answer, daemon=True)
        self.thread.start()

    def _answer(self):
        while True:
            data, client = self.sock.recvfrom(4096)
            if not data:
                return
            question = dns.message.from_wire(data)
            asked = question.question[0]
            kind = dns.rdatatype.to_text(asked.rdtype)
            self.asked.append((asked.name.to_text(), kind))
            if self.silent:
                continue
            response = dns.message.make_response(question)
            records = self.RECORDS.get(self.asked[-1])
            if records is not None:
                response.answer.append(
                    dns.rrset.from_text_list(asked.name, 60, "IN", kind, records)
                )
            elif not any(name == self.asked[-1][0] for name, _ in self.RECORDS):
                response.set_rcode(dns.rcode.NXDOMAIN)
            answer = response.to_wire()
            for forged in self.before(data, answer):
                self.sock.sendto(forged, client)
                # dnspython's own sockets drop all but the first that come in one turn
                # of the loop.
                time.sleep(0.01)
            self.sock.sendto(answer, client)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(20)
        self.sock.close()


@pytest.fixture
def server():
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def proxy(server, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# a comment\n192.0.2.9 here.example here # another\n\n"
        "2001:db8::9 here.example\nnonsense here\n192.0.2.8 here\n"
        "fe80::1%eth0 here.example\n"
    )
    proxy = greendns.ResolverProxy(greendns.HostsResolver(str(hosts)), None)
    proxy.resolver.nameservers = ["127.0.0.1"]
    proxy.resolver.port = server.port
    return proxy


def test_addresses():
    for host, v4, v6 in (
        ("192.0.2.1", True, False),
        ("::1", False, True),
        ("fe80::1%eth0", False, True),
        ("example", False, False),
        (b"192.0.2.1", False, False),
        (None, False, False),
    ):
        assert greendns.is_ipv4_addr(host) is v4
        assert greendns.is_ipv6_addr(host) is v6
        assert greendns.is_ip_addr(host) is (v4 or v6)


def test_the_loops_resolver(hub_name):
    assert greendns.gethostbyname("localhost") == socket.gethostbyname("localhost")
    assert greendns.getaddrinfo("localhost", 80) == socket.getaddrinfo("localhost", 80)
    assert greendns.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICSERV)[1] == "80"


def test_name_servers_are_asked_on_the_loop(hub_name, server, proxy):
    ticks = []
    ticker = greenio.spawn(lambda: [ticks.append(greenio.sleep(0)) for _ in range(3)])
    answer = proxy.query("www.example")
    assert sorted(record.address for record in answer) == ["192.0.2.1", "192.0.2.2"]
    ticker.wait()
    (record,) = proxy.query("www.example", "AAAA")
    assert record.address == "2001:db8::1"
    asked = len(server.asked)
    # It remembers.
    assert proxy.query("www.example").rrset is not None
    assert len(server.asked) == asked
    with pytest.raises(dns.resolver.NXDOMAIN):
        proxy.query("nowhere.example")
    with pytest.raises(dns.resolver.NoAnswer):
        proxy.query("www.example", "MX")


def test_in_an_os_thread(server, proxy):
    answer = in_thread(lambda: proxy.query("www.example"))
    assert sorted(record.address for record in answer) == ["192.0.2.1", "192.0.2.2"]


def test_coroutines_are_told_how(run_async, proxy):
    async def main():
        with pytest.raises(greenio.BlockingInLoopError):
            proxy.query("www.example")
        return await greenio.run_green(proxy.query, "www.example")

    assert len(run_async(main)) == 2


def test_the_hosts_file_comes_first(hub_name, server, proxy):
    assert [r.address for r in proxy.query("here.example")] == ["192.0.2.9"]
    assert [r.address for r in proxy.query("HERE")] == ["192.0.2.9", "192.0.2.8"]
    assert [r.address for r in proxy.query("here.example", "AAAA")] == ["2001:db8::9"]
    assert proxy.getaliases("here") == ["here.example"]
    assert server.asked == []
    with pytest.raises(dns.resolver.NoAnswer):
        proxy.query("www.example", use_network=False)


def test_a_hosts_file_is_read_again(hub_name, tmp_path):
    hosts = tmp_path / "hosts"
    resolver = greendns.HostsResolver(str(hosts), interval=0)
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.query("a")
    hosts.write_text("192.0.2.1 a\n")
    assert resolver.query("a")[0].address == "192.0.2.1"
    assert resolver.query("b", raise_on_no_answer=False).rrset is None


def test_resolve_raises_what_sockets_do(hub_name, server, proxy, monkeypatch):
    def resolve(name, *args, **kwargs):
        return greendns.resolve(name, *args, _proxy=proxy, **kwargs)

    assert len(resolve("www.example")) == 2
    (record,) = resolve("www.example", socket.AF_INET6)
    assert record.address == "2001:db8::1"
    with pytest.raises(socket.gaierror) as caught:
        resolve("nowhere.example")
    assert caught.value.errno == socket.EAI_NONAME
    assert resolve("nowhere.example", raises=False).rrset is None
    with pytest.raises(ValueError, match="AF_INET or AF_INET6"):
        resolve("www.example", 99)
    server.silent = True
    monkeypatch.setattr(greendns, "DNS_QUERY_TIMEOUT", 0.05)
    with pytest.raises(socket.gaierror) as caught:
        resolve("late.example")
    assert caught.value.errno == socket.EAI_AGAIN


def test_canonical_names(hub_name, proxy, monkeypatch):
    from greenio.support import _dnspython

    monkeypatch.setattr(_dnspython, "resolver", proxy)
    assert greendns.resolve_cname("alias.example") == "www.example"
    assert greendns.resolve_cname("www.example") == "www.example"
    assert greendns.getaliases("here") == ["here.example"]
    with pytest.raises(socket.gaierror):
        greendns.resolve_cname("nowhere.example")
    assert greendns.resolver is proxy
    greendns.reset()
    assert proxy._resolver is None


def test_one_server_is_asked(hub_name, server):
    question = dns.message.make_query("www.example", "A")
    response = greendns.udp(question, "127.0.0.1", port=server.port, timeout=20)
    assert len(response.answer[0]) == 2


def test_one_server_is_asked_by_a_socket_of_ones_own(hub_name, server):
    from greenio.green import socket as green_socket

    question = dns.message.make_query("www.example.", "A")
    with green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # The arguments where eventlet has them.
        answer = greendns.udp(
            question, "127.0.0.1", 5.0, server.port, None, None, 0, sock=sock
        )
        assert len(answer.answer[0]) == 2
        server.silent = True
        with pytest.raises(dns.exception.Timeout):
            greendns.udp(question, "127.0.0.1", 0.05, server.port, sock=sock)


def _forged(question, answer):
    """What somebody else may send from the server's address, who can't see the question.

    The question with a wrong number, cut off, said to be cut off, and no message at all.
    """
    number = bytes([question[0] ^ 1]) + question[1:2]
    return [
        b"",
        b"nonsense",
        question[:12],
        answer[:-3],
        number + answer[2:],
        number + b"\x83\x80" + answer[4:],
    ]


@pytest.mark.parametrize("way", ["resolver", "socket of its own", "socket of ours"])
def test_what_is_no_answer_keeps_nobody_from_the_answer(hub_name, server, proxy, way):
    """CVE-2023-29483: one forged packet made lookups fail."""
    server.before = _forged
    if way == "resolver":
        answer = proxy.query("www.example")
        assert sorted(record.address for record in answer) == ["192.0.2.1", "192.0.2.2"]
        return
    question = dns.message.make_query("www.example.", "A")
    options = {"port": server.port, "ignore_errors": True, "ignore_unexpected": True}
    if way == "socket of ours":
        with greenio.green.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = greendns.udp(question, "127.0.0.1", 20, sock=sock, **options)
    else:
        for tries in range(10):
            try:
                answer = greendns.udp(question, "127.0.0.1", 2, **options)
            except dns.exception.Timeout:
                # They came in one turn all the same.
                assert tries < 9
            else:
                break
    assert len(answer.answer[0]) == 2


def test_a_broken_answer_is_an_error_unless_told_otherwise(hub_name, server):
    server.before = lambda question, answer: [answer[:-3]]
    question = dns.message.make_query("www.example.", "A")
    with greenio.green.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(dns.exception.DNSException):
            greendns.udp(question, "127.0.0.1", 20, port=server.port, sock=sock)


def test_an_answer_to_another_question_is_an_error_unless_told_otherwise(
    hub_name, server
):
    server.before = lambda question, answer: _forged(question, answer)[4:5]
    question = dns.message.make_query("www.example.", "A")
    with greenio.green.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(dns.query.BadResponse):
            greendns.udp(question, "127.0.0.1", 20, port=server.port, sock=sock)


def test_an_answer_from_elsewhere_is_an_error_unless_told_otherwise(hub_name, server):
    question = dns.message.make_query("www.example.", "A")
    options = {"timeout": 20, "port": server.port}
    green = greenio.green.socket
    with (
        green.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        green.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        sock.bind(("127.0.0.1", 0))
        other.sendto(b"nonsense", sock.getsockname())
        with pytest.raises(dns.query.UnexpectedSource):
            greendns.udp(question, "127.0.0.1", sock=sock, **options)
        # The answer to that is there, too.
        assert sock.recv(1000)
        other.sendto(b"nonsense", sock.getsockname())
        answer = greendns.udp(
            question, "127.0.0.1", sock=sock, ignore_unexpected=True, **options
        )
        assert len(answer.answer[0]) == 2


def test_a_canonical_name_that_nobody_answers_for(hub_name, server, proxy, monkeypatch):
    from greenio.support import _dnspython

    monkeypatch.setattr(_dnspython, "resolver", proxy)
    server.silent = True
    monkeypatch.setattr(greendns, "DNS_QUERY_TIMEOUT", 0.05)
    with pytest.raises(socket.gaierror) as refused:
        greendns.resolve_cname("alias.example")
    assert refused.value.errno == socket.EAI_AGAIN


@pytest.mark.parametrize("own", [True, False])
def test_one_server_is_asked_by_tcp(hub_name, own):
    listener = greenio.listen(("127.0.0.1", 0))
    host, port = listener.getsockname()

    def answer(sock, id_off):
        size = int.from_bytes(sock.recv(2), "big")
        question = dns.message.from_wire(sock.recv(size))
        response = dns.message.make_response(question)
        response.id = (response.id + id_off) % 65536
        wire = response.to_wire()
        sock.sendall(len(wire).to_bytes(2, "big"))
        sock.sendall(wire)

    def serve():
        for id_off in (0, 1):
            sock, _ = listener.accept()
            with sock:
                answer(sock, id_off)
        listener.accept()[0].close()

    thread = greenio.spawn(serve)
    question = dns.message.make_query("www.example.", "A")

    def ask():
        if not own:
            return greendns.tcp(question, host, 5.0, port)
        with greenio.connect((host, port)) as sock:
            return greendns.tcp(question, host, 5.0, sock=sock)

    assert question.is_response(ask())
    with pytest.raises(dns.query.BadResponse):
        ask()
    with pytest.raises((EOFError, OSError)):
        ask()
    thread.wait()
    listener.close()


def test_names_that_programs_for_eventlet_find():
    import time

    assert greendns.pkg == "dns"
    assert greendns.compute_expiration(dns.query, None) is None
    assert greendns.compute_expiration(dns.query, 1000) > time.time()
    text = "\n# no\n127.0.0.1 a b # c\r\n  ::1 d\n"
    found = greendns.HostsResolver.LINES_RE.findall(text)
    assert [line.split() for line in found] == [["127.0.0.1", "a", "b"], ["::1", "d"]]


def test_without_dnspython(loop):
    run(
        """
        import sys
        sys.modules["dns"] = None
        from greenio.support import greendns
        assert greendns.gethostbyname("127.0.0.1") == "127.0.0.1"
        for name in ("resolve", "ResolverProxy", "resolver"):
            try:
                getattr(greendns, name)
            except ImportError as error:
                assert "greenio-asyncio[dns]" in str(error), error
            else:
                raise AssertionError(name)
        assert not hasattr(greendns, "nothing")
        """,
        hub=loop,
    )
