r"""Heads of requests of which the halves have been read before.

Clients repeat themselves: one asks for the same things again and again, and says the
same of itself each time. So a head is looked at in two halves, the method with the
target (``GET /index``), and all the rest, from the version on. What `HeadParser` made of
a half is kept, and found again by all its bytes; a head of two halves that are known is
not parsed, and of one with a new target, only the request line is.

That is no second opinion on requests, since a half is kept only when the parser has
accepted a whole head that it was a part of, and neither half can change what the other
means: kept are only methods that llhttp treats alike, and targets that begin with a slash
(the absolute form would replace the Host). Nor do limits get lost: whoever assigns one
has everything forgotten (`forget_all`), and the one on the request line is looked at
each time.

How much is kept is bounded, in number and size. A half is kept when it comes a second
time, which one number for each tells: where all requests are new, because a proxy says
for whom each is, say, keeping them would cost more than parsing them.
"""

from __future__ import annotations

import weakref

from .errors import RequestError
from .head import PLAIN_METHODS, Environ, HeadParser

# `` HTTP/1.1``, which the second half begins with.
_VERSION = 9
_REST = b" HTTP/1.1\r\nHost: a\r\n\r\n"
# How many are kept of each kind, and how many bytes they may have.
_MOST = 512
_LONGEST_TARGET = 512
_LONGEST_REST = 2048
# How many that came once are remembered, by their hashes; a power of two.
_ONCE = 1024

# REQUEST_METHOD, RAW_PATH_INFO, PATH_INFO, QUERY_STRING.
_Target = tuple[str, str, str, str]


class Facts:
    """What the second half of a head says.

    Attributes:
        environ: The environment, to be copied; what a request changes stands in it.
        http11: Whether the answer may be of HTTP/1.1.
        keep_alive: Whether the connection may be kept.
        length: The length of the body; -1 if it is chunked.
        expects: Whether the client waits for ``100 Continue``.
    """

    __slots__ = ("environ", "expects", "http11", "keep_alive", "length")

    def __init__(
        self,
        environ: Environ,
        http11: bool,
        keep_alive: bool,
        length: int,
        expects: bool,
    ) -> None:
        self.environ = environ
        self.http11 = http11
        self.keep_alive = keep_alive
        self.length = length
        self.expects = expects


class Heads:
    """Makes environments of heads.

    Args:
        parser: What parses them; others may use it, too.
        base: What every environment begins with.
        defaults: What it has where the request says nothing of it.
        speaks_11: Whether the server answers in HTTP/1.1.
        keeps_alive: Whether it keeps connections.
    """

    def __init__(
        self,
        parser: HeadParser,
        base: Environ,
        defaults: Environ,
        speaks_11: bool,
        keeps_alive: bool,
    ) -> None:
        self._base = base
        self._defaults = {**defaults, "CONTENT_TYPE": "text/plain"}
        self._speaks_11 = speaks_11
        self._keeps_alive = keeps_alive
        self._parser = parser
        self._targets: dict[bytes, _Target] = {}
        self._rests: dict[bytes, Facts] = {}
        self._once = [0] * _ONCE
        _all.add(self)

    def read(self, head: bytes, url_limit: int) -> tuple[Environ, Facts]:
        """Make an environment of a head.

        Args:
            head: All of it, with the empty line.
            url_limit: How long the request line may be.

        Returns:
            The environment, the caller's to keep, and what else there is to know.

        Raises:
            RequestError: The head is refused.
        """
        line_end = head.find(b"\r\n")
        cut = line_end - _VERSION
        target = self._targets.get(head[:cut])
        facts = self._rests.get(head[cut:])
        if facts is None or line_end > url_limit:
            return self._read_whole(head, cut, url_limit)
        if target is None:
            target = self._read_target(head[:cut])
            if target is None:
                return self._read_whole(head, cut, url_limit)
        environ = facts.environ.copy()
        (
            environ["REQUEST_METHOD"],
            environ["RAW_PATH_INFO"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
        ) = target
        return environ, facts

    def _read_target(self, line: bytes) -> _Target | None:
        """Read a method and a target; None if there is more to them."""
        if not _is_plain(line):
            return None
        environ: Environ = {}
        try:
            self._parser.parse(line + _REST, environ, len(line) + len(_REST))
        except RequestError:
            # Of the whole head it may be another one.
            return None
        return self._keep_target(line, environ)

    def _keep_target(self, line: bytes, environ: Environ) -> _Target:
        target = (
            environ["REQUEST_METHOD"],
            environ["RAW_PATH_INFO"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
        )
        if len(line) <= _LONGEST_TARGET and self._came_before(line):
            if len(self._targets) >= _MOST:
                self._targets.clear()
            self._targets[line] = target
        return target

    def _read_whole(
        self, head: bytes, cut: int, url_limit: int
    ) -> tuple[Environ, Facts]:
        environ = self._base.copy()
        parser = self._parser
        parser.parse(head, environ, url_limit)
        for key, value in self._defaults.items():
            environ.setdefault(key, value)
        # What a request has of its own, so that a copy has room for it.
        environ["wsgi.input"] = environ["eventlet.input"] = None
        environ["eventlet.posthooks"] = None
        facts = Facts(
            environ,
            parser.http11 and self._speaks_11,
            parser.keep_alive and self._keeps_alive,
            parser.length,
            parser.expects,
        )
        if _is_plain(head):
            self._keep_target(head[:cut], environ)
            rest = head[cut:]
            if len(rest) <= _LONGEST_REST and self._came_before(rest):
                if len(self._rests) >= _MOST:
                    self._rests.clear()
                facts.environ = environ.copy()
                self._rests[rest] = facts
        return environ, facts

    def _came_before(self, half: bytes) -> bool:
        """Whether a half has come before, as far as that is remembered."""
        number = hash(half)
        place = number & (_ONCE - 1)
        if self._once[place] == number:
            return True
        self._once[place] = number
        return False

    def forget(self) -> None:
        """Have everything parsed again."""
        self._targets.clear()
        self._rests.clear()


_all: weakref.WeakSet[Heads] = weakref.WeakSet()


def forget_all() -> None:
    """Have all servers parse everything again: a limit has been changed."""
    for heads in list(_all):
        heads.forget()


def _is_plain(line: bytes) -> bool:
    """Whether a head begins like most, so that its halves mean nothing to each other."""
    method, _, target = line[:40].partition(b" ")
    return method in PLAIN_METHODS and target[:1] == b"/"
