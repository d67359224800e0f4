"""The standard library as it was before anything was patched.

greenio's own code takes sockets, locks, threads and clocks from here and from
nowhere else: this module is imported before `monkey_patch()` can run, and what it
binds are the objects themselves, so patching a module's attributes later does not
reach them.
"""

from __future__ import annotations

import _queue
import _socket
import _thread
import asyncio
import os
import select
import socket
import ssl
import sys
import threading
import time
from typing import Any

# Locks, threads, identity.
RLock = _thread.RLock
allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
thread_local = _thread._local
SimpleQueue = _queue.SimpleQueue
QueueEmpty = _queue.Empty
start_new_thread = _thread.start_new_thread
interrupt_main: Any = _thread.interrupt_main
set_thread_name = getattr(_thread, "set_name", None)
Thread = threading.Thread
main_thread = threading.main_thread

# Tasks.
all_tasks = asyncio.all_tasks
current_task = asyncio.current_task
if sys.version_info >= (3, 14):
    # Tasks of the class written in Python are kept apart from those written in C.
    _c_current_task = asyncio.current_task
    _py_current_task: Any = asyncio.tasks._py_current_task  # type: ignore[attr-defined]

    def current_task(
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Task[Any] | None:
        """Return the Task of the current step, whatever its class is written in."""
        task = _c_current_task(loop)
        return _py_current_task(loop) if task is None else task


# The same for a loop that is given. Before 3.12, `asyncio.current_task` is a Python function
# that looks here.
task_on: Any = current_task
if sys.version_info < (3, 12):
    task_on = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]

# Clocks.
monotonic = time.monotonic
time_sleep = time.sleep

# Descriptors.
os_open = os.open
os_close = os.close
os_read = os.read
os_readv = getattr(os, "readv", None)
os_write = os.write
os_writev = getattr(os, "writev", None)
os_sendfile = getattr(os, "sendfile", None)
os_splice = getattr(os, "splice", None)
os_fstat = os.fstat
os_set_blocking = os.set_blocking
os_get_blocking = os.get_blocking
os_wait = getattr(os, "wait", None)
os_waitpid = os.waitpid
os_pidfd_open = getattr(os, "pidfd_open", None)
poll = getattr(select, "poll", None)
POLLIN = getattr(select, "POLLIN", 1)
POLLOUT = getattr(select, "POLLOUT", 4)
POLLPRI = getattr(select, "POLLPRI", 2)
POLLERR = getattr(select, "POLLERR", 8)
POLLHUP = getattr(select, "POLLHUP", 16)
POLLNVAL = getattr(select, "POLLNVAL", 32)
epoll = getattr(select, "epoll", None)
kqueue = getattr(select, "kqueue", None)
kevent = getattr(select, "kevent", None)
select_select = select.select

# Sockets.
raw_socket = _socket.socket
socket_class = socket.socket
GiveupOnSendfile: type[Exception] = vars(socket)["_GiveupOnSendfile"]
socketpair = socket.socketpair
getaddrinfo = socket.getaddrinfo
getnameinfo = socket.getnameinfo
gethostbyaddr = socket.gethostbyaddr
gethostbyname = socket.gethostbyname
gethostbyname_ex = socket.gethostbyname_ex
getdefaulttimeout = socket.getdefaulttimeout

# TLS.
SSLContext = ssl.SSLContext
SSLSocket = ssl.SSLSocket
SSLWantReadError = ssl.SSLWantReadError
SSLWantWriteError = ssl.SSLWantWriteError
SSLEOFError = ssl.SSLEOFError
SSLError = ssl.SSLError


_main_ident = main_thread().ident


def in_main_thread() -> bool:
    """Whether the caller runs in the interpreter's main OS thread."""
    return get_ident() == _main_ident


def is_running_elsewhere(ident: int) -> bool:
    """Whether it is the number of another OS thread that has not ended."""
    return ident != get_ident() and ident in sys._current_frames()


def finish_threads() -> None:
    """Wait for the threads that are not daemons, as the interpreter does at its end."""
    threading._shutdown()  # type: ignore[attr-defined]


def _after_fork_in_child() -> None:
    # Which may not be what `threading` says: it is told of green threads.
    global _main_ident  # noqa: PLW0603 - one per process
    _main_ident = get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
