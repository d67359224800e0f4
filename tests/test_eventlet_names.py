"""Every name and signature of eventlet's is there, or in the table of those that are not.

`tests/data` has them; `_std.absences` the table, which the documentation shows.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import warnings
from pathlib import Path

import pytest

import _eventlet_api as api
from _fresh import run
from greenio._std.absences import ABSENT

MODULES = api.read()
DOCS = Path(__file__).parents[1] / "docs"

# Packages that a module of the same name is for.
PACKAGES = {"MySQLdb", "OpenSSL", "dns", "httptools", "psycopg2", "zmq"}
# Gone from the standard library: with what version of Python.
GONE = {"green.asynchat": (3, 12), "green.asyncore": (3, 12)}

# These hand their further arguments on, to what refuses most of them there as here.
PASSED_ON = {
    "green._socket_nodns.fromfd",
    "green.builtin.open",
    "green.ssl.GreenSSLContext.wrap_socket",
    "green.ssl.SSLContext.wrap_socket",
    "green.ssl.create_default_context",
    "green.ssl.green_create_default_context",
    "green.ssl.wrap_socket",
    "green.subprocess.Popen",
    "greenio.base.GreenSocket",
    "greenio.base.GreenSocket.dup",
    "greenio.base.GreenSocket.makefile",
    "websocket.RFC6455WebSocket.send",
}

# Calls that are not taken, and defaults that are others, with the reason.
OTHERWISE = {
    "green._socket_nodns.fromfd": "as socket.fromfd, which needs three arguments",
    "green.builtin.open": "as open, which needs one argument",
    "green.ssl.GreenSSLSocket.recvfrom": "eventlet's takes an address, and is of no use",
    "green.ssl.SSLSocket.recvfrom": "eventlet's takes an address, and is of no use",
    "green.ssl.GreenSSLSocket.sendto": "it passes on what comes, as GreenSocket's",
    "green.ssl.SSLSocket.sendto": "it passes on what comes, as GreenSocket's",
    "green.subprocess.Popen": "bufsize is the standard one's",
    "hubs.hub.BaseHub.get_timers_count": "eventlet calls what is self here `hub`",
    "support.greendns.HostsResolver": "interval=None is HOSTS_TTL, looked up later",
    "support.greendns.tcp": "timeout=None is DNS_QUERY_TIMEOUT, looked up later",
    "support.greendns.udp": "timeout=None is DNS_QUERY_TIMEOUT, looked up later",
    "wsgi.Server": "debug=None and url_length_limit=None are looked up later",
    "wsgi.server": "debug=None and url_length_limit=None are looked up later",
}

# Those modules are the running Python's own code over green ones; eventlet's are copies
# of Python 3.5's.
STANDARD = ("green.http", "green.httplib", "green.urllib")


def _below(name):
    return name.partition(".")[2]


def _import(name):
    """Import greenio's module for one of eventlet's; skip what nobody can import here."""
    below = _below(name)
    gone = GONE.get(below)
    if gone is not None and sys.version_info >= gone:
        with pytest.raises(ImportError):
            importlib.import_module(f"greenio.{below}")
        pytest.skip(f"Python {'.'.join(map(str, gone))} has no such module")
    try:
        with warnings.catch_warnings():
            # Of modules that later versions of Python lack.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(f"greenio.{below}" if below else "greenio")
    except ModuleNotFoundError as exc:
        if exc.name not in PACKAGES:
            raise
        pytest.skip(f"{exc.name} is not installed")


def _is_standards(below):
    return below.startswith(STANDARD)


def _things(module, name):
    """The names of a module and of its classes, with what they are here."""
    below = _below(name)
    for entry in MODULES[name].entries:
        full = f"{below}.{entry.name}" if below else entry.name
        yield full, entry, module, getattr(module, entry.name, None)
        thing = getattr(module, entry.name, None)
        for member in entry.members:
            yield (
                f"{full}.{member.name}",
                member,
                thing,
                getattr(thing, member.name, None),
            )


def _table_name(full):
    # One class by several names.
    return re.sub(
        r"^hubs\.(asyncio|epolls|poll|selects)\.Hub\.", "hubs.hub.BaseHub.", full
    )


importable = pytest.mark.parametrize(
    "name", [name for name in MODULES if _below(name) not in ABSENT]
)


@importable
def test_names(name):
    module = _import(name)
    missing = set()
    for full, entry, owner, _ in _things(module, name):
        if hasattr(owner, entry.name):
            continue
        if _is_standards(_below(name)) and not _standard_has(full):
            continue
        if _table_name(full) in ABSENT:
            with pytest.raises(AttributeError, match=re.escape(_table_name(full))):
                getattr(owner, entry.name)
            continue
        missing.add(full)
    assert missing == set()


def _standard_has(full):
    parts = full.removeprefix("green.").split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@importable
def test_names_for_one_thing(name):
    module = _import(name)
    for full, entry, _, thing in _things(module, name):
        if entry.same_as is not None:
            home, _, attribute = entry.same_as.rpartition(".")
            assert thing is getattr(_import(home), attribute), full


@importable
def test_what_is_replaced(name):
    green = _import(name)
    standard = {"Queue": "queue", "thread": "_thread", "builtin": "builtins"}
    last = _below(name).removeprefix("green.")
    if MODULES[name].replaces and last != "_socket_nodns":
        plain = importlib.import_module(standard.get(last, last))
        for replaced in MODULES[name].replaces:
            if hasattr(plain, replaced):
                assert hasattr(green, replaced), replaced


@importable
def test_calls(name):
    module = _import(name)
    if _is_standards(_below(name)):
        pytest.skip("it is the running Python's own code")
    refused = {}
    for full, entry, _, thing in _things(module, name):
        if entry.signature is not None and thing is not None:
            calls = list(
                api.refused_calls(thing, entry.signature, passed_on=full in PASSED_ON)
            )
            if calls and full not in OTHERWISE:
                refused[full] = calls
    assert refused == {}


@importable
def test_defaults(name):
    module = _import(name)
    if _is_standards(_below(name)):
        pytest.skip("it is the running Python's own code")
    others = {}
    for full, entry, _, thing in _things(module, name):
        if entry.signature is not None and thing is not None:
            found = list(api.other_defaults(thing, entry.signature))
            if found and full not in OTHERWISE:
                others[full] = found
    assert others == {}


def test_there_are_all_of_them():
    assert len(MODULES) > 70
    entries = [entry for module in MODULES.values() for entry in module.entries]
    assert len(entries) > 350
    assert sum(len(entry.members) for entry in entries) > 550


def test_what_differs_is_eventlets():
    """No list here names what is not there any more."""
    names = set()
    for name in MODULES:
        below = _below(name)
        names.add(below)
        for entry in MODULES[name].entries:
            full = f"{below}.{entry.name}" if below else entry.name
            names.add(full)
            names.update(f"{full}.{member.name}" for member in entry.members)
    assert PASSED_ON | set(OTHERWISE) <= names
    known = {_table_name(name) for name in names} | {"zipkin"}
    assert set(ABSENT) <= known


# -- what is absent on purpose --------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["green.OpenSSL.tsafe", "green.urllib2", "hubs.pyevent", "zipkin"]
)
def test_modules_that_are_absent_say_why(name):
    assert importlib.util.find_spec(f"greenio.{name}") is not None
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"greenio.{name}")
    assert str(caught.value) == f"greenio does not have {name!r}: {ABSENT[name]}"
    assert caught.value.name == f"greenio.{name}"


def test_the_documentation_shows_the_table():
    text = (DOCS / "howto" / "from-eventlet.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", text, re.MULTILINE))
    assert rows == ABSENT


# -- the alias ------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_of_them_by_the_alias():
    names = [
        name
        for name in MODULES
        if _below(name) not in ABSENT and _below(name) not in GONE
    ]
    out = run(f"""
        import importlib, importlib.util, json, sys, warnings
        warnings.simplefilter("ignore")
        import greenio
        greenio.install_as_eventlet()
        problems = []
        for name in json.loads({json.dumps(json.dumps(names))}):
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name not in {sorted(PACKAGES)}:
                    problems.append(str(error))
                continue
            if importlib.util.find_spec(name) is None:
                problems.append(f"no spec of {{name}}")
            if name != "eventlet" and not module.__name__.startswith("greenio."):
                problems.append(f"{{name}} is {{module.__name__}}")
            parent, _, last = name.rpartition(".")
            if parent and getattr(sys.modules[parent], last) is not module:
                problems.append(f"{{name}} is not reachable")
        print(problems)
    """)
    assert out == "[]\n"
