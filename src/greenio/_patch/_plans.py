"""What is replaced in which standard module: data, no code.

The names of a plan live in the green module of the same name; `monkey_patch` writes
them into the standard one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How one standard module is patched.

    Attributes:
        module: The standard module.
        green: Its counterpart below `greenio.green`.
        names: What `monkey_patch` replaces. A name that this interpreter's module does
            not have is skipped.
    """

    module: str
    green: str
    names: tuple[str, ...]


# The keywords of monkey_patch(), with the plans each of them stands for.
PLANS: dict[str, tuple[Plan, ...]] = {
    "os": (Plan("os", "os", ("read", "write", "close", "wait", "waitpid")),),
    "select": (
        Plan("select", "select", ("select", "poll", "epoll")),
        Plan(
            "selectors",
            "selectors",
            ("DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector"),
        ),
    ),
    "socket": (
        Plan(
            "socket",
            "socket",
            (
                "socket",
                "SocketType",
                "create_connection",
                "fromfd",
                "socketpair",
                "getaddrinfo",
                "gethostbyaddr",
                "gethostbyname",
                "gethostbyname_ex",
                "getnameinfo",
            ),
        ),
        Plan(
            "ssl",
            "ssl",
            (
                "SSLContext",
                "SSLSocket",
                "create_connection",
                "socket",
                "wrap_socket",
                "create_default_context",
                "_create_unverified_context",
                "_create_default_https_context",
                "_create_stdlib_context",
            ),
        ),
    ),
    # What the `subprocess` module waits with: see _subprocess.
    "subprocess": (Plan("subprocess", "subprocess", ()),),
    "thread": (
        Plan(
            "_thread",
            "thread",
            (
                "LockType",
                "RLock",
                "_ThreadHandle",
                "_count",
                "_local",
                "_make_thread_handle",
                "_set_sentinel",
                "allocate",
                "allocate_lock",
                "exit",
                "exit_thread",
                "get_ident",
                "lock",
                "stack_size",
                "start_joinable_thread",
                "start_new",
                "start_new_thread",
            ),
        ),
        # The `threading` module's names depend on its own state: see _threading.
        Plan("threading", "threading", ()),
        Plan("queue", "queue", ("SimpleQueue",)),
    ),
    "time": (Plan("time", "time", ("sleep",)),),
}

# Accepted as keywords because programs pass them; on only when asked for by name.
ON_REQUEST = frozenset({"MySQLdb", "builtins"})
# Drivers that are made green through a hook of their own.
DRIVERS = frozenset({"psycopg"})

KEYWORDS = (*PLANS, *sorted(DRIVERS), *sorted(ON_REQUEST))

# Standard modules that have a green counterpart, for whoever is imported green.
GREEN: dict[str, str] = {
    "_thread": "thread",
    "ftplib": "ftplib",
    "http": "http",
    "http.client": "http.client",
    "http.server": "http.server",
    "os": "os",
    "queue": "queue",
    "select": "select",
    "selectors": "selectors",
    "socket": "socket",
    "socketserver": "socketserver",
    "ssl": "ssl",
    "subprocess": "subprocess",
    "threading": "threading",
    "time": "time",
    "urllib": "urllib",
    "urllib.request": "urllib.request",
}
