"""Asking name servers by dnspython: in green threads on the loop, else as it is.

A look-up first looks into the hosts file, which is read again when it is older than its
interval. What dnspython raises is raised where its types are part of the interface
(`ResolverProxy.query`); `resolve` raises what sockets do (`socket.gaierror`).
"""

from __future__ import annotations

import re
import socket as _types  # noqa: TID251 - constants and the error class
import time  # noqa: TID251 - the wall clock, which nobody patches
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset

from .._bridge.await_ import await_
from .._greenthread.timeout import Timeout
from .._kernel.current import hub_to_park_in
from .._std.originals import monotonic
from ._addresses import is_ip_addr, is_ipv4_addr

_A = dns.rdatatype.A
_AAAA = dns.rdatatype.AAAA
_IN = dns.rdataclass.IN

# Of `greendns`.
settings: dict[str, Any] = {"DNS_QUERY_TIMEOUT": 10.0, "HOSTS_TTL": 10.0}


def _ask(what: str, on_loop: Callable[..., Any], plain: Callable[..., Any]) -> Any:
    """Make a look-up as it has to be here."""
    if hub_to_park_in(what) is None:
        return plain()
    return await_(on_loop())


# Any, so that types are checked alike with dnspython and without.
_Answer = dns.resolver.Answer
_TookTooLong: Any = dns.exception.Timeout
_UnexpectedSource: Any = dns.query.UnexpectedSource


class HostsAnswer(_Answer):
    """An answer from a hosts file, as those of name servers are.

    Args:
        qname: The name that was asked for.
        rdtype: The type of record.
        rdclass: Its class.
        rrset: The records, or None.
        raise_on_no_answer: Whether it is an error if there are none.

    Raises:
        NoAnswer: There are no records.
    """

    def __init__(
        self,
        qname: Any,
        rdtype: Any,
        rdclass: Any,
        rrset: Any,
        raise_on_no_answer: bool = True,
    ) -> None:
        self.response: Any = None
        self.qname = qname
        self.rdtype = rdtype
        self.rdclass = rdclass
        self.canonical_name = qname
        if not rrset and raise_on_no_answer:
            raise dns.resolver.NoAnswer
        self.rrset = rrset
        self.expiration: Any | float = monotonic() + (rrset.ttl if rrset else 0)


class HostsResolver:
    """Looks names up in a hosts file.

    Args:
        fname: The file; by default the system's.
        interval: After how many seconds it is read again.

    Attributes:
        LINES_RE: What finds the lines of the file, without comments.
    """

    LINES_RE = re.compile(r"^[ \t]*([^#\s][^#\r\n]*)", re.MULTILINE)

    def __init__(self, fname: str | None = None, interval: float | None = None) -> None:
        self.fname: str = fname or "/etc/hosts"
        self.interval: Any | float = (
            settings["HOSTS_TTL"] if interval is None else interval
        )
        self._read_at: float | None = None
        self._addresses: dict[tuple[str, Any], list[str]] = {}
        self._aliases: dict[str, list[str]] = {}

    def _load(self) -> None:
        now = monotonic()
        if self._read_at is not None and now - self._read_at < self.interval:
            return
        self._read_at = now
        self._addresses = {}
        self._aliases = {}
        try:
            text = Path(self.fname).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in self.LINES_RE.findall(text):
            address, *names = line.split()
            kind = _A if is_ipv4_addr(address) else _AAAA
            # Answers have no room for the interface of a link-local address.
            if not is_ip_addr(address) or "%" in address:
                continue
            names = [name.lower() for name in names]
            for name in names:
                known = self._addresses.setdefault((name, kind), [])
                if address not in known:
                    known.append(address)
                aliases = self._aliases.setdefault(name, [])
                aliases.extend(n for n in names if n != name and n not in aliases)

    def query(
        self,
        qname: Any,
        rdtype: Any = _A,
        rdclass: Any = _IN,
        tcp: bool = False,
        source: str | None = None,
        raise_on_no_answer: bool = True,
    ) -> HostsAnswer:
        """Look a name up.

        Args:
            qname: The name.
            rdtype: ``A`` or ``AAAA``.
            rdclass: Always ``IN``.
            tcp: For name servers only.
            source: For name servers only.
            raise_on_no_answer: Whether it is an error if the file does not have it.

        Raises:
            NoAnswer: The file does not have it.
        """
        self._load()
        name = _as_name(qname)
        kind = dns.rdatatype.RdataType.make(rdtype)
        text = name.to_text(omit_final_dot=True).lower()
        found = self._addresses.get((text, kind), [])
        rrset = None
        if found:
            rrset = dns.rrset.from_text_list(
                name,
                int(settings["HOSTS_TTL"]),
                "IN",
                dns.rdatatype.to_text(kind),
                found,
            )
        return HostsAnswer(name, kind, rdclass, rrset, raise_on_no_answer)

    def getaliases(self, hostname: Any) -> list[str]:
        """Return the other names on the lines of a name."""
        self._load()
        text = _as_name(hostname).to_text(omit_final_dot=True).lower()
        return list(self._aliases.get(text, ()))


class ResolverProxy:
    """Looks names up in a hosts file, then asks name servers.

    Args:
        hosts_resolver: The hosts file's; None for none.
        filename: Where the name servers are named.
    """

    def __init__(
        self,
        hosts_resolver: HostsResolver | None = None,
        filename: str | None = "/etc/resolv.conf",
    ) -> None:
        self._hosts = hosts_resolver
        self._filename = filename
        self._resolver: Any = None

    @property
    def resolver(self) -> Any:
        """The resolver of dnspython, which may be configured."""
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(
                self._filename or "/etc/resolv.conf", configure=bool(self._filename)
            )
            self._resolver.cache = dns.resolver.LRUCache()
        return self._resolver

    def clear(self) -> None:
        """Forget the configuration, and what was answered."""
        self._resolver = None

    def query(
        self,
        qname: Any,
        rdtype: Any = _A,
        rdclass: Any = _IN,
        tcp: bool = False,
        source: str | None = None,
        raise_on_no_answer: bool = True,
        _hosts_rdtypes: tuple[Any, ...] = (_A, _AAAA),
        use_network: bool = True,
    ) -> Any:
        """Look a name up, waiting as a green thread.

        Args:
            qname: The name.
            rdtype: The type of record.
            rdclass: Its class.
            tcp: Whether to ask by TCP.
            source: The address to ask from.
            raise_on_no_answer: Whether it is an error if there are no such records.
            _hosts_rdtypes: The types that a hosts file may answer.
            use_network: Whether name servers may be asked.

        Raises:
            dns.exception.DNSException: There is no answer.
        """
        name = _as_name(qname)
        kind = dns.rdatatype.RdataType.make(rdtype)
        if self._hosts is not None and kind in _hosts_rdtypes:
            answer = self._hosts.query(name, kind, raise_on_no_answer=False)
            if answer.rrset is not None:
                return answer
        if not use_network:
            return HostsAnswer(name, kind, rdclass, None, raise_on_no_answer)
        resolver = self.resolver
        options: dict[str, Any] = {
            "tcp": tcp,
            "source": source,
            "raise_on_no_answer": raise_on_no_answer,
            "lifetime": settings["DNS_QUERY_TIMEOUT"],
        }
        return _ask(
            "resolve()",
            lambda: resolver.resolve(name, kind, rdclass, **options),
            lambda: _plain(resolver).resolve(name, kind, rdclass, **options),
        )

    def getaliases(self, hostname: Any) -> list[str]:
        """Return the other names of a host, from the hosts file."""
        return [] if self._hosts is None else self._hosts.getaliases(hostname)


def _plain(resolver: Any) -> dns.resolver.Resolver:
    """The same resolver for an OS thread."""
    plain = dns.resolver.Resolver(configure=False)
    vars(plain).update(vars(resolver))
    return plain


def _as_name(name: Any) -> dns.name.Name:
    return name if isinstance(name, dns.name.Name) else dns.name.from_text(str(name))


resolver = ResolverProxy(HostsResolver())


def reset() -> None:
    """Read the configuration again."""
    resolver.clear()


def resolve(
    name: str,
    family: int = _types.AF_INET,
    raises: bool = True,
    _proxy: ResolverProxy | None = None,
    use_network: bool = True,
) -> Any:
    """Look a host up.

    Args:
        name: Its name.
        family: ``AF_INET`` or ``AF_INET6``.
        raises: Whether to raise if it is not found; else the answer's ``rrset`` is None.
        _proxy: What to ask instead of `resolver`.
        use_network: Whether name servers may be asked.

    Returns:
        The answer: iterate over it for the records, each with an ``address``.

    Raises:
        OSError: There is no such host, or no name server answers (`socket.gaierror`).
        ValueError: It is another family.
    """
    kinds = {_types.AF_INET: _A, _types.AF_INET6: _AAAA}
    kind = kinds.get(family)  # type: ignore[call-overload]
    if kind is None:
        raise ValueError(f"resolve() takes AF_INET or AF_INET6, not {family!r}")
    proxy = _proxy or resolver
    try:
        try:
            return proxy.query(
                name, kind, raise_on_no_answer=raises, use_network=use_network
            )
        except dns.resolver.NXDOMAIN:
            if raises:
                raise
            return HostsAnswer(_as_name(name), kind, _IN, None, False)
    except dns.exception.Timeout as error:
        raise _types.gaierror(
            _types.EAI_AGAIN, "no name server answered in time"
        ) from error
    except dns.exception.DNSException as error:
        raise _types.gaierror(
            _types.EAI_NONAME, f"{name}: {type(error).__name__}"
        ) from error


def resolve_cname(host: str) -> str:
    """Return the canonical name of a host.

    Raises:
        OSError: There is no such host, or no name server answers (`socket.gaierror`).
    """
    try:
        answer = resolver.query(host, dns.rdatatype.CNAME)
    except dns.resolver.NoAnswer:
        return host
    except dns.exception.Timeout as error:
        raise _types.gaierror(
            _types.EAI_AGAIN, "no name server answered in time"
        ) from error
    except dns.exception.DNSException as error:
        raise _types.gaierror(
            _types.EAI_NONAME, f"{host}: {type(error).__name__}"
        ) from error
    return str(answer[0].target.to_text(omit_final_dot=True))


def getaliases(host: str) -> list[str]:
    """Return the other names of a host, from the hosts file."""
    return resolver.getaliases(host)


def compute_expiration(query: Any, timeout: float | None) -> float | None:
    """When a question's time is over, by the wall clock; None if it has no limit.

    Args:
        query: Nothing; eventlet wants the module ``dns.query``.
        timeout: Seconds from now.
    """
    del query
    return None if timeout is None else time.time() + timeout


def udp(
    q: Any,
    where: str,
    timeout: float | None = None,
    port: int = 53,
    af: int | None = None,
    source: str | None = None,
    source_port: int = 0,
    ignore_unexpected: bool = False,
    one_rr_per_rrset: bool = False,
    ignore_trailing: bool = False,
    raise_on_truncation: bool = False,
    sock: Any = None,
    ignore_errors: bool = False,
) -> Any:
    """Ask one name server by UDP; see ``dns.query.udp``.

    Args:
        q: The question.
        where: The server's address.
        timeout: Seconds.
        port: The server's port.
        af: Nothing; the address says its family.
        source: The address to ask from.
        source_port: The port to ask from.
        ignore_unexpected: Whether answers from others are left aside.
        one_rr_per_rrset: Whether each record is a set by itself.
        ignore_trailing: Whether bytes after the message are no error.
        raise_on_truncation: Whether an answer that is cut off is an error.
        sock: A green socket to ask by; without it, one is made.
        ignore_errors: Whether answers that are none are left aside.

    Raises:
        dns.exception.DNSException: There is no answer.
    """
    del af
    seconds = settings["DNS_QUERY_TIMEOUT"] if timeout is None else timeout
    parsing: dict[str, Any] = {
        "one_rr_per_rrset": one_rr_per_rrset,
        "ignore_trailing": ignore_trailing,
    }
    if sock is not None:
        return _udp_by(
            sock,
            q,
            (where, port),
            seconds,
            ignore_unexpected,
            ignore_errors,
            {**parsing, "raise_on_truncation": raise_on_truncation},
        )
    options: dict[str, Any] = {
        **parsing,
        "port": port,
        "source": source,
        "source_port": source_port,
        "ignore_unexpected": ignore_unexpected,
        "raise_on_truncation": raise_on_truncation,
        "ignore_errors": ignore_errors,
    }
    return _ask(
        "udp()",
        lambda: dns.asyncquery.udp(q, where, seconds, **options),
        lambda: dns.query.udp(q, where, seconds, **options),
    )


def tcp(
    q: Any,
    where: str,
    timeout: float | None = None,
    port: int = 53,
    af: int | None = None,
    source: str | None = None,
    source_port: int = 0,
    one_rr_per_rrset: bool = False,
    ignore_trailing: bool = False,
    sock: Any = None,
) -> Any:
    """Ask one name server by TCP; see ``dns.query.tcp``.

    Args:
        q: The question.
        where: The server's address.
        timeout: Seconds.
        port: The server's port.
        af: Nothing; the address says its family.
        source: The address to ask from.
        source_port: The port to ask from.
        one_rr_per_rrset: Whether each record is a set by itself.
        ignore_trailing: Whether bytes after the message are no error.
        sock: A connected green socket to ask by; without it, one is made.

    Raises:
        dns.exception.DNSException: There is no answer.
    """
    del af
    seconds = settings["DNS_QUERY_TIMEOUT"] if timeout is None else timeout
    parsing: dict[str, Any] = {
        "one_rr_per_rrset": one_rr_per_rrset,
        "ignore_trailing": ignore_trailing,
    }
    if sock is not None:
        return _tcp_by(sock, q, seconds, parsing)
    options: dict[str, Any] = {
        **parsing,
        "port": port,
        "source": source,
        "source_port": source_port,
    }
    return _ask(
        "tcp()",
        lambda: dns.asyncquery.tcp(q, where, seconds, **options),
        lambda: dns.query.tcp(q, where, seconds, **options),
    )


def _udp_by(
    sock: Any,
    q: Any,
    where: tuple[str, int],
    seconds: float,
    ignore_unexpected: bool,
    ignore_errors: bool,
    parsing: dict[str, Any],
) -> Any:
    """Ask by a socket that is there: the wait for it is a green thread's."""
    with Timeout(seconds, _TookTooLong(timeout=seconds)):
        sock.sendto(q.to_wire(), where)
        while True:
            data, peer = sock.recvfrom(65535)
            if peer[:2] != where:
                if ignore_unexpected:
                    continue
                raise _UnexpectedSource(f"got an answer from {peer}")
            try:
                answer = dns.message.from_wire(data, keyring=q.keyring, **parsing)
            except dns.message.Truncated as exc:
                cut_off: Any = exc
                if ignore_errors and not q.is_response(cut_off.message()):
                    continue
                raise
            except Exception:
                # Anybody may send us something that is no answer (CVE-2023-29483).
                if ignore_errors:
                    continue
                raise
            if q.is_response(answer):
                return answer
            if not ignore_errors:
                raise dns.query.BadResponse


def _tcp_by(sock: Any, q: Any, seconds: float, parsing: dict[str, Any]) -> Any:
    """The same for a connected socket."""
    with Timeout(seconds, _TookTooLong(timeout=seconds)):
        wire = q.to_wire()
        sock.sendall(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(_read(sock, 2), "big")
        answer = dns.message.from_wire(_read(sock, size), keyring=q.keyring, **parsing)
    if not q.is_response(answer):
        raise dns.query.BadResponse
    return answer


def _read(sock: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError("the name server ended the connection")
        data += piece
    return data
