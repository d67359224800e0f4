"""A request and its answer under gunicorn: its hooks, its count of requests, its log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._http.answer import AnswerHead, final_head
from .._http.exchange import Exchange, FileWrapper
from .views import EarlyHints, Request, Response


class GunicornExchange(Exchange):
    """One request and its answer; see `Exchange`."""

    headers: Iterable[tuple[str, str]] = ()
    hints: EarlyHints | None = None
    _req: Request | None = None
    _resp: Response | None = None

    @property
    def req(self) -> Request:
        """The request for gunicorn's hooks and loggers."""
        if self._req is None:
            self._req = Request(self)
        return self._req

    @property
    def resp(self) -> Response:
        """The answer for gunicorn's hooks and loggers."""
        if self._resp is None:
            self._resp = Response(self)
        return self._resp

    def start_response(
        self,
        status: str,
        response_headers: Iterable[tuple[str, str]],
        exc_info: Any = None,
    ) -> Callable[[bytes], None]:
        """Begin the answer: PEP 3333."""
        if self.head is not None or exc_info:
            super().start_response(status, response_headers, exc_info)
        else:
            # Names go out as the application writes them.
            self.head = final_head(status, response_headers, False)
        self.headers = response_headers
        return self.write

    def send_hints(self, headers: list[tuple[str, str]]) -> None:
        """Send a ``103 Early Hints``."""
        lines = AnswerHead("103 Early Hints", headers, False).lines
        self._send(lines + b"\r\n\r\n")

    def run(self) -> bool:
        """Call the application and send its answer.

        Returns:
            Whether another request may follow on the connection.
        """
        server = self.server
        server.worker.count_request()
        try:
            if server.pre_request is not None or server.post_request is not None:
                return self._run_with_hooks()
            return super().run()
        except SystemExit as exc:
            if server.worker.aborted_here:
                raise
            # An application that ends itself ends this request.
            self._failed(exc)
            return False
        finally:
            hints = self.hints
            if hints is not None:
                hints.exchange = None

    def _run_with_hooks(self) -> bool:
        server = self.server
        try:
            if server.pre_request is not None:
                try:
                    server.pre_request(server.worker, self.req)
                except Exception as exc:
                    self._failed(exc)
                    return False
            return super().run()
        finally:
            self._after_request()

    def _after_request(self) -> None:
        server = self.server
        if server.post_request is None:
            return
        try:
            server.post_request(server.worker, self.req, self.environ, self.resp)
        except Exception:
            server.log.exception("Exception in post_request hook")
        finally:
            self.forget()

    def forget(self) -> None:
        """Let go of what refers to this."""
        self._req = self._resp = None

    def _log_failure(self, exc: BaseException, text: str) -> None:
        self.server.log.error(
            "Error handling request %s %s",
            self.environ["REQUEST_METHOD"],
            self.environ["RAW_URI"],
            exc_info=exc,
        )

    def _send_file(self, result: FileWrapper) -> bool:
        return bool(self.server.sends_files) and super()._send_file(result)
