"""What eventlet has and greenio has not, on purpose, and why: one table.

A module in it can be found, and raises ImportError when it is imported. Any other name
raises AttributeError. Both say what the table says.
"""

from __future__ import annotations

from typing import Any, NoReturn

# By the name below `eventlet`, or `greenio`.
ABSENT: dict[str, str] = {
    "green.OpenSSL.tsafe": (
        "pyOpenSSL itself has no such module any more; use green.OpenSSL.SSL, and a lock "
        "where several green threads use one connection"
    ),
    "green.profile.ContextWrap": (
        "it is how eventlet's Profile is made; green.profile.Profile keeps greenlets "
        "apart by itself"
    ),
    "green.profile.Profile.SwitchTasklet": (
        "it is how eventlet's Profile is made; this one follows switches by itself"
    ),
    "green.profile.Profile.TallyTimings": (
        "it is how eventlet's Profile is made; create_stats() ends the counting"
    ),
    "green.profile.Profile.Unwind": (
        "it is how eventlet's Profile is made; create_stats() ends the counting"
    ),
    "green.profile.Profile.trace_dispatch_c_return_extend_back": (
        "it is how eventlet's Profile is made; this one follows switches by itself"
    ),
    "green.profile.Profile.trace_dispatch_return_extend_back": (
        "it is how eventlet's Profile is made; this one follows switches by itself"
    ),
    "green.urllib2": "it was Python 2's; green.urllib.request has what was in it",
    "hubs.hub.BaseHub.do_poll": (
        "the loop polls; hub.wait(seconds) lets it run for a while"
    ),
    "hubs.hub.BaseHub.register": (
        "the loop keeps its own registrations; hub.add(evtype, fileno, cb, tb) makes one"
    ),
    "hubs.pyevent": (
        "eventlet has given up its hub on libevent too; use_hub('uvloop') is the fast one"
    ),
    "zipkin": (
        "eventlet's tracing sends by a protocol that is no longer spoken; use "
        "OpenTelemetry's SDK with its Zipkin exporter instead, whose spans contextvars "
        "carry into green threads and coroutines"
    ),
}


def refuse_import(module: str) -> NoReturn:
    """Raise the ImportError of a module that greenio does not have.

    Args:
        module: The module's ``__name__``.
    """
    name = module.partition(".")[2]
    raise ImportError(f"greenio does not have {name!r}: {ABSENT[name]}", name=module)


class Absent:
    """An attribute that eventlet's class has and greenio's has not; `hasattr` is False.

    Args:
        name: Its name in the table.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        raise AttributeError(
            f"greenio does not have {self._name!r}: {ABSENT[self._name]}"
        )


def attribute_error(home: str, name: str) -> AttributeError:
    """Return the error for a name that a module does not have."""
    known = f"{home.partition('.')[2]}.{name}"
    if known in ABSENT:
        return AttributeError(f"greenio does not have {known!r}: {ABSENT[known]}")
    return AttributeError(f"module {home!r} has no attribute {name!r}")
