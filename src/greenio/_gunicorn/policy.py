"""What gunicorn's settings say of requests, made ready once per worker.

The limits on heads are those of `greenio.wsgi`, which are for the whole process, so a
worker assigns them. The rest is asked for each request: which methods are let through,
whose word on the URL's scheme counts, what becomes of headers with underscores.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from .._http import settings
from .._http.errors import RequestError, bad_request

# gunicorn's own, for 0 and for what makes no sense.
_MOST_FIELDS = 32768
_LONGEST_LINE = 8190
_UNLIMITED = 1 << 30
_USUAL_METHODS = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"]
)
_UNCONVENTIONAL = re.compile("[a-z#]")
_MOST_KNOWN_PEERS = 4096


def needs_gunicorns_parser(cfg: Any) -> list[str]:
    """The settings that only gunicorn's own parser keeps.

    Args:
        cfg: gunicorn's configuration.
    """

    def value(name: str, default: Any) -> Any:
        return getattr(cfg, name, default)

    found = []
    # Off is False in gunicorn 23, and "off" since.
    if value("proxy_protocol", "off") not in (False, None, "off"):
        found.append("proxy_protocol")
    if value("protocol", "http") != "http":
        found.append("protocol")
    if value("http2_cleartext", "off") != "off":
        found.append("http2_cleartext")
    if value("http_parser", "auto") != "auto":
        found.append("http_parser")
    found += [
        name
        for name in (
            "permit_obsolete_folding",
            "strip_header_spaces",
            "permit_unconventional_http_version",
            "casefold_http_method",
        )
        if value(name, False)
    ]
    return found


def set_limits(cfg: Any) -> None:
    """Have the limits on heads be gunicorn's.

    Args:
        cfg: gunicorn's configuration.
    """
    fields = cfg.limit_request_fields
    if fields <= 0 or fields > _MOST_FIELDS:
        fields = _MOST_FIELDS
    size = cfg.limit_request_field_size
    if size < 0:
        size = _LONGEST_LINE
    settings.MAX_HEADER_COUNT = fields
    # gunicorn counts the CRLF.
    settings.MAX_HEADER_LINE = size - 2 if size else _UNLIMITED
    settings.MAX_TOTAL_HEADER_SIZE = fields * ((size or _LONGEST_LINE) + 2) + 4


def line_limit(cfg: Any) -> int:
    """How long a request line may be.

    Args:
        cfg: gunicorn's configuration.
    """
    limit: int = cfg.limit_request_line
    if limit == 0:
        return _UNLIMITED
    if limit < 0 or limit >= _LONGEST_LINE:
        return _LONGEST_LINE
    return limit


class Policy:
    """What is asked for each request.

    Args:
        cfg: gunicorn's configuration.
    """

    def __init__(self, cfg: Any) -> None:
        self.any_method: bool = cfg.permit_unconventional_http_method
        self._schemes: dict[str, str] = dict(cfg.secure_scheme_headers)
        self._scheme_keys = [_key(name) for name in self._schemes]
        self._forwarders = frozenset(name.upper() for name in cfg.forwarder_headers)
        self._header_map: str = cfg.header_map
        allowed = cfg.forwarded_allow_ips
        self._all_trusted = "*" in allowed
        # gunicorn 23 knows addresses, and no networks.
        self._networks = [
            ipaddress.ip_network(each, strict=False) for each in allowed if each != "*"
        ]
        self._known: dict[Any, bool] = {}

    def check_method(self, method: str) -> None:
        """Refuse a method that is out of the ordinary.

        Raises:
            RequestError: It is.
        """
        if (
            method not in _USUAL_METHODS
            and not self.any_method
            and (_UNCONVENTIONAL.search(method) or not 3 <= len(method) <= 20)
        ):
            raise bad_request(f"Invalid HTTP method: {method!r}")

    def trusts(self, address: Any) -> bool:
        """Whether a peer's word on the scheme counts.

        Args:
            address: The peer's; one of a Unix socket is trusted.
        """
        if self._all_trusted or not isinstance(address, tuple):
            return True
        host = address[0]
        known = self._known.get(host)
        if known is None:
            known = self._is_allowed(host)
            if len(self._known) < _MOST_KNOWN_PEERS:
                self._known[host] = known
        return known

    def _is_allowed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def apply_scheme(self, environ: dict[str, Any]) -> None:
        """Set the URL's scheme to what a trusted peer says.

        Raises:
            RequestError: It says two different things.
        """
        for key in self._scheme_keys:
            if key in environ:
                break
        else:
            return
        scheme: str | None = None
        for name, value in environ["headers_raw"]:
            secure_value = self._schemes.get(name.upper())
            if secure_value is None:
                continue
            said = "https" if value == secure_value else "http"
            if scheme is not None and said != scheme:
                raise bad_request("Contradictory scheme headers")
            scheme = said
        if scheme is not None:
            environ["wsgi.url_scheme"] = scheme

    def apply_dropped(self, environ: dict[str, Any], trusted: bool) -> None:
        """Deal with headers that have underscores in their names.

        Args:
            environ: The environment, in which they are not.
            trusted: Whether the peer is one whose word counts.

        Raises:
            RequestError: They are refused.
        """
        forwarders = self._forwarders if trusted else frozenset()
        for name, value in environ["headers_raw"]:
            if "_" not in name:
                continue
            upper = name.upper()
            if upper in forwarders or "*" in forwarders:
                if upper == "SCRIPT_NAME":
                    environ["SCRIPT_NAME"] = value
            elif self._header_map == "drop":
                continue
            elif self._header_map != "dangerous":
                raise bad_request(f"Invalid HTTP header name: {name!r}")
            key = _key(upper)
            environ[key] = f"{environ[key]},{value}" if key in environ else value

    @staticmethod
    def strip_script_name(environ: dict[str, Any]) -> None:
        """Take SCRIPT_NAME off the path.

        Raises:
            RequestError: The path does not begin with it.
        """
        prefix = environ["SCRIPT_NAME"]
        path = environ["PATH_INFO"]
        if not path.startswith(prefix):
            raise RequestError(
                "500 Internal Server Error",
                f"Request path {path!r} does not start with SCRIPT_NAME {prefix!r}",
            )
        environ["PATH_INFO"] = path[len(prefix) :]


def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")
