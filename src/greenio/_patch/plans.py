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
    "os": (
        Plan(
            "os",
            "os",
            (
                "close",
                "fdopen",
                "open",
                "read",
                "readv",
                "sendfile",
                "splice",
                "wait",
                "waitpid",
                "write",
                "writev",
            ),
        ),
        Plan("signal", "signal", ("pause", "sigtimedwait", "sigwait", "sigwaitinfo")),
    ),
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
                "socket",
                "create_default_context",
                "_create_unverified_context",
                "_create_default_https_context",
                "_create_stdlib_context",
            ),
        ),
    ),
    # What the `subprocess` module waits with: see `monkey`.
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
                "set_name",
                "stack_size",
                "start_joinable_thread",
                "start_new",
                "start_new_thread",
            ),
        ),
        # The `threading` module's names depend on its own state: see `threading`.
        Plan("threading", "threading", ()),
        Plan("queue", "queue", ("SimpleQueue",)),
        # Whose handlers run for the main thread, and which takes the number of one.
        Plan("signal", "signal", ("signal", "getsignal", "pthread_kill")),
    ),
    "time": (Plan("time", "time", ("sleep",)),),
}

# Plans for packages that a program may have.
OPTIONAL: dict[str, tuple[Plan, ...]] = {
    "MySQLdb": (
        Plan("MySQLdb", "MySQLdb", ("Connect", "Connection", "connect")),
        Plan("MySQLdb.connections", "MySQLdb", ("Connection",)),
    ),
}

# What whoever takes the patch back has to put back beside the names of the plans: from
# `patcher.original(module)`, as oslo.privsep does in the process that it forks.
ALSO_TO_PUT_BACK: dict[str, tuple[str, ...]] = {
    "threading": (
        "Lock",
        "RLock",
        "_CRLock",
        "_LockType",
        "_ThreadHandle",
        "_active",
        "_allocate_lock",
        "_get_main_thread_ident",
        "_limbo",
        "_maintain_shutdown_locks",
        "_make_invoke_excepthook",
        "_make_thread_handle",
        "_set_name",
        "_set_sentinel",
        "_shutdown",
        "_shutdown_locks",
        "_shutdown_locks_lock",
        "_sleep",
        "_start_joinable_thread",
        "_start_new_thread",
        "_thread_local_info",
        "_thread_shutdown",
        "currentThread",
        "current_thread",
        "get_ident",
        "local",
        "stack_size",
    ),
    "subprocess": ("Popen", "call", "check_call", "check_output"),
    "queue": ("LifoQueue", "PriorityQueue", "Queue"),
    "socket": ("create_connection", "create_server", "ssl", "timeout"),
    "ssl": ("create_connection", "sslwrap_simple"),
}

# Accepted as keywords because programs pass them; on only when asked for by name.
ON_REQUEST = frozenset({"MySQLdb", "builtins"})
# Drivers that are made green through a hook of their own.
DRIVERS = frozenset({"psycopg"})

KEYWORDS = (*PLANS, *sorted(DRIVERS), *sorted(ON_REQUEST))

# Standard modules that have a green counterpart, for whoever is imported green. Of a
# package, all modules do, since the green package has none but these.
GREEN: dict[str, str] = {
    "_thread": "thread",
    **{
        name: name
        for name in (
            "asynchat",
            "asyncore",
            "ftplib",
            "http",
            "http.client",
            "http.cookiejar",
            "http.cookies",
            "http.server",
            "imaplib",
            "os",
            "poplib",
            "profile",
            "queue",
            "select",
            "selectors",
            "signal",
            "smtplib",
            "socket",
            "socketserver",
            "ssl",
            "subprocess",
            "threading",
            "time",
            "urllib",
            "urllib.error",
            "urllib.parse",
            "urllib.request",
            "urllib.response",
            "urllib.robotparser",
            "xmlrpc",
            "xmlrpc.client",
            "xmlrpc.server",
        )
    },
}

# Those that later versions of Python lack, and that warn of it when they are imported.
DEPRECATED = frozenset({"asynchat", "asyncore"})
