"""Libraries that no patch reaches, and what to do with each."""

from __future__ import annotations

from dataclasses import dataclass

_BY_TPOOL = "call it through greenio.tpool"


@dataclass(frozen=True)
class Library:
    """A library that keeps the loop from going on.

    Attributes:
        advice: What to do.
        what: What it does.
        common: Whether many programs import it by the way, and never wait in it.
    """

    advice: str
    what: str = "waits in C"
    common: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


_OWN_LOOP = "brings a loop of its own"

LIBRARIES = {
    "MySQLdb": Library("use monkey_patch(MySQLdb=True), or PyMySQL"),
    "aerospike": Library(_BY_TPOOL),
    "confluent_kafka": Library(
        f"{_BY_TPOOL}, or use aiokafka with greenio.await_", "waits in C (librdkafka)"
    ),
    "couchbase": Library(_BY_TPOOL),
    "cx_Oracle": Library(_BY_TPOOL),
    "grpc": Library("use grpc.aio with greenio.await_"),
    "ibm_db": Library(_BY_TPOOL),
    "ldap": Library(f"{_BY_TPOOL}, or use ldap3"),
    "libvirt": Library(_BY_TPOOL),
    "pycurl": Library("use an HTTP client written in Python, or greenio.tpool"),
    "pylibmc": Library("use pymemcache, or call it through greenio.tpool"),
    "pymssql": Library(_BY_TPOOL),
    "pyodbc": Library(_BY_TPOOL),
    "rados": Library(_BY_TPOOL),
    "sqlite3": Library(
        "long queries block everybody; call those through greenio.tpool", common=True
    ),
    "zmq": Library("import it as greenio.green.zmq"),
    "curio": Library(
        "start what needs it in an OS thread, by greenio.tpool", _OWN_LOOP
    ),
    "gevent": Library(
        "remove `gevent.monkey`, and use greenio's names for gevent's", _OWN_LOOP
    ),
    "nest_asyncio": Library(
        "remove it: asyncio.run() works in green threads of a patched program",
        "lets loops run inside each other by changing asyncio",
    ),
    "trio": Library("start what needs it in an OS thread, by greenio.tpool", _OWN_LOOP),
    "twisted.internet.reactor": Library(
        "install twisted.internet.asyncioreactor first, on the running loop", _OWN_LOOP
    ),
}
