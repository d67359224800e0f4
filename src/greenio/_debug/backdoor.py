"""A console for whoever connects to a socket; see `greenio.backdoor`."""

from __future__ import annotations

import ipaddress
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from greenlet import GreenletExit

from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub
from .._net.constants import AF_UNIX
from .console import AwaitingConsole
from .run_info import format_run_info

_OUTPUT = ("stdout", "stderr")
_console_file: ContextVar[FileProxy | None] = ContextVar("console_file", default=None)


class BackdoorWarning(UserWarning):
    """Others than this machine's users can reach the console."""


class FileProxy:
    """A socket's file as the standard streams are: a terminal that is never buffered.

    Args:
        f: A file to read from and write to, such as ``sock.makefile("rw")``.
    """

    encoding = "utf-8"
    errors = "replace"
    closed = False

    def __init__(self, f: Any) -> None:
        self.f = f

    def isatty(self) -> bool:
        """Return True."""
        return True

    def flush(self) -> None:
        """Do nothing: what is written has gone already."""

    def write(self, data: str, *a: Any, **kw: Any) -> int:
        """Write text."""
        self.f.write(data, *a, **kw)
        self.f.flush()
        return len(data)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        self.write("".join(lines))

    def readline(self, *a: Any) -> str:
        """Read a line, which ends in a newline alone whatever the client sends."""
        line: str = self.f.readline(*a)
        return line[:-2] + "\n" if line.endswith("\r\n") else line

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.f, name)


class _SocketFile:
    """Reads and writes a socket as text.

    Not a ``makefile("rw")``: writing to one forgets the lines that it has read already.
    """

    def __init__(self, sock: Any) -> None:
        how = {"encoding": "utf-8", "errors": "replace", "newline": "\n"}
        self._output = sock.makefile("w", **how)
        self._input = sock.makefile("r", **how)
        self.write = self._output.write
        self.flush = self._output.flush
        self.read = self._input.read
        self.readline = self._input.readline

    def close(self) -> None:
        try:
            self._output.close()
        finally:
            self._input.close()


class _Stream:
    """A standard stream that is the console's for what runs in its context."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def _current(self) -> Any:
        return _console_file.get() or self._original

    def write(self, data: str) -> Any:
        return self._current().write(data)

    def readline(self, *args: Any) -> Any:
        return self._current().readline(*args)

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current(), name)


class _Streams:
    """Puts streams that know consoles in the place of the standard ones."""

    def __init__(self) -> None:
        self._consoles = 0
        self._ours: dict[str, _Stream] = {}

    def acquire(self) -> None:
        self._consoles += 1
        if self._consoles == 1:
            for name in (*_OUTPUT, "stdin"):
                stream = self._ours[name] = _Stream(getattr(sys, name))
                setattr(sys, name, stream)

    def release(self) -> None:
        self._consoles -= 1
        if not self._consoles:
            for name, stream in self._ours.items():
                # Unless the program has put another one there meanwhile.
                if getattr(sys, name) is stream:
                    setattr(sys, name, stream._original)
            self._ours.clear()


_streams = _Streams()


class _Console(AwaitingConsole):
    """Reads from and writes to a file."""

    def __init__(self, file: FileProxy, namespace: dict[str, Any]) -> None:
        super().__init__(namespace, "<backdoor>")
        self._file = file

    def raw_input(self, prompt: str = "") -> str:
        self._file.write(prompt)
        line = self._file.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def write(self, data: str) -> None:
        self._file.write(data)


class SocketConsole(GreenThread):
    """A green thread with a console for one client.

    It begins with `backdoor`.

    Args:
        desc: The file to talk by.
        hostport: The client's address.
        locals: The names that are there at the prompt.

    Raises:
        TypeError: `desc` is no file, or `locals` no dict.
    """

    __slots__ = ("desc", "hostport", "locals")

    def __init__(
        self,
        desc: FileProxy,
        hostport: Any,
        locals: dict[str, Any] | None = None,  # noqa: A002 - eventlet's name for it
    ) -> None:
        _check_locals(locals)
        if not callable(getattr(desc, "readline", None)):
            raise TypeError(
                f"SocketConsole() takes a file, such as a FileProxy, not {desc!r}"
            )
        super().__init__(get_hub(), self._talk, (), {})
        # Programs start it by a timer of the hub's that switches to it.
        self._hub.keep_track(self)
        self.desc: FileProxy = desc
        self.hostport: Any = hostport
        self.locals: dict[str, Any] = {
            "__builtins__": __builtins__,
            "__name__": "__console__",
            "run_info": _print_run_info,
        }
        self.locals.update(locals or {})

    def _talk(self) -> None:
        _console_file.set(self.desc)
        _streams.acquire()
        try:
            console = _Console(self.desc, self.locals)
            console.interact(
                f"Python {sys.version} on {sys.platform}\n"
                f'Type "help", "copyright", "credits" or "license" for more '
                f"information; await works here.",
                exitmsg="",
            )
        except (SystemExit, GreenletExit):
            pass  # exit(), or killed
        except (OSError, ValueError):
            pass  # the client has gone in the middle
        finally:
            _streams.release()
            self.finalize()

    def switch_out(self) -> None:
        """Put the streams back, as eventlet has to when another runs: nothing to do."""

    def finalize(self) -> None:
        """Say good-bye."""
        try:
            self.desc.close()
        except (OSError, ValueError):
            pass
        print(f"backdoor closed to {_shown(self.hostport)}")


def _print_run_info() -> None:
    """Print who waits for what; see `greenio.debug.format_run_info`."""
    print(format_run_info())


def _shown(address: Any) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        return f"{host}:{address[1]}"
    if isinstance(address, bytes):
        return address.decode("utf-8", "replace")
    return str(address or "a local client")


def _is_private(sock: Any) -> bool:
    if sock.family == AF_UNIX:
        return True
    try:
        return ipaddress.ip_address(sock.getsockname()[0]).is_loopback
    except ValueError:
        return False


def backdoor_server(sock: Any, locals: dict[str, Any] | None = None) -> None:  # noqa: A002
    """Accept connections for ever, and give each a console.

    Spawn it; killing it closes the listening socket, and leaves open consoles open.

    Args:
        sock: The listening socket.
        locals: The names that are there at every prompt; all clients share them.

    Raises:
        TypeError: `sock` is no socket that listens, or `locals` no dict.
    """
    _check_locals(locals)
    if not callable(getattr(sock, "accept", None)):
        raise TypeError(
            "backdoor_server() takes a listening socket, such as greenio.listen(path, "
            f"socket.AF_UNIX), not {sock!r}"
        )
    name = _shown(sock.getsockname())
    if not _is_private(sock):
        warnings.warn(
            f"the backdoor listens on {name}: whoever reaches that can run anything in "
            "this program; listen on a Unix socket or on 127.0.0.1",
            BackdoorWarning,
            stacklevel=2,
        )
    print(f"backdoor server listening on {name}")
    try:
        while True:
            backdoor(sock.accept(), locals)
    finally:
        sock.close()


def backdoor(conn_info: tuple[Any, Any], locals: dict[str, Any] | None = None) -> None:  # noqa: A002
    """Give a connection a console, in a green thread of its own.

    Args:
        conn_info: What `accept` returned: the socket and the client's address.
        locals: The names that are there at the prompt.

    Raises:
        TypeError: `conn_info` is not what `accept` returns, or `locals` no dict.
    """
    _check_locals(locals)
    try:
        sock, address = conn_info
        is_socket = callable(getattr(sock, "recv", None))
    except (TypeError, ValueError):
        is_socket = False
    if not is_socket:
        raise TypeError(
            "backdoor() takes what sock.accept() returns, a socket and an address, not "
            f"{conn_info!r}"
        )
    print(f"backdoor to {_shown(address)}")
    file = _SocketFile(sock)
    # The file keeps the connection open from here on.
    sock.close()
    console = SocketConsole(FileProxy(file), address, locals)
    console._hub.wake(console)


def _check_locals(names: Any) -> None:
    if names is not None and not isinstance(names, dict):
        raise TypeError(f"locals is a dict of names for the prompt, not {names!r}")
