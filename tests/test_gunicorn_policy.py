"""What gunicorn's settings ask of each request, as greenio's worker keeps it."""

from __future__ import annotations

import pytest

pytest.importorskip("gunicorn")

from gunicorn.config import Config

from greenio._gunicorn.policy import (
    Policy,
    line_limit,
    needs_gunicorns_parser,
    set_limits,
)
from greenio._http import settings
from greenio._http.errors import RequestError


def configured(**wanted):
    cfg = Config()
    for name, value in wanted.items():
        cfg.set(name, value)
    return cfg


def test_what_only_gunicorns_own_parser_keeps():
    assert needs_gunicorns_parser(configured()) == []
    cfg = configured(proxy_protocol=True, casefold_http_method=True)
    assert needs_gunicorns_parser(cfg) == ["proxy_protocol", "casefold_http_method"]

    class Newest:
        """Settings that gunicorn has since 26."""

        protocol = "uwsgi"
        http2_cleartext = "upgrade"
        http_parser = "python"

    assert needs_gunicorns_parser(Newest()) == [
        "protocol",
        "http2_cleartext",
        "http_parser",
    ]


@pytest.fixture
def limits(monkeypatch):
    """The limits on heads, put back afterwards."""
    for name in ("MAX_HEADER_COUNT", "MAX_HEADER_LINE", "MAX_TOTAL_HEADER_SIZE"):
        monkeypatch.setattr(settings, name, getattr(settings, name))
    return settings


@pytest.mark.parametrize(
    ("fields", "size", "count", "line"),
    [(100, 8190, 100, 8188), (0, 1000, 32768, 998), (10, 0, 10, 1 << 30)],
)
def test_limits_on_headers(limits, fields, size, count, line):
    set_limits(configured(limit_request_fields=fields, limit_request_field_size=size))
    assert (count, line) == (limits.MAX_HEADER_COUNT, limits.MAX_HEADER_LINE)


@pytest.mark.parametrize(("limit", "length"), [(0, 1 << 30), (4094, 4094)])
def test_limits_on_request_lines(limit, length):
    assert line_limit(configured(limit_request_line=limit)) == length


def test_whose_word_counts():
    policy = Policy(configured(forwarded_allow_ips="127.0.0.1,::1"))
    assert policy.trusts(("127.0.0.1", 1))
    assert policy.trusts(("::1%lo", 1, 0, 0))
    assert policy.trusts("")
    for _ in range(2):
        assert not policy.trusts(("10.0.0.1", 1))
        assert not policy.trusts(("no address", 1))
    assert Policy(configured(forwarded_allow_ips="*")).trusts(("10.0.0.1", 1))


HEADERS = [("X-A", "1"), ("Script_Name", "/sub"), ("X_B", "2"), ("x_b", "3")]


@pytest.mark.parametrize(
    ("header_map", "forwarders", "trusted", "kept"),
    [
        (
            "drop",
            "SCRIPT_NAME",
            True,
            {"SCRIPT_NAME": "/sub", "HTTP_SCRIPT_NAME": "/sub"},
        ),
        ("drop", "SCRIPT_NAME", False, {}),
        (
            "dangerous",
            "",
            True,
            {"HTTP_SCRIPT_NAME": "/sub", "HTTP_X_B": "2,3"},
        ),
        (
            "drop",
            "*",
            True,
            {"SCRIPT_NAME": "/sub", "HTTP_SCRIPT_NAME": "/sub", "HTTP_X_B": "2,3"},
        ),
    ],
    ids=["forwarded", "not trusted", "dangerous", "all"],
)
def test_headers_with_underscores(header_map, forwarders, trusted, kept):
    policy = Policy(configured(header_map=header_map, forwarder_headers=forwarders))
    environ = {"headers_raw": HEADERS}
    policy.apply_dropped(environ, trusted)
    del environ["headers_raw"]
    assert environ == kept


def test_headers_with_underscores_may_be_refused():
    policy = Policy(configured(header_map="refuse"))
    with pytest.raises(RequestError, match="Invalid HTTP header name: 'X_B'"):
        policy.apply_dropped({"headers_raw": [("X_B", "2")]}, True)


def test_the_scheme_of_a_trusted_peer():
    policy = Policy(configured())
    header = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")]
    keys = {"HTTP_X_FORWARDED_PROTO": "https"}
    environ = {**keys, "headers_raw": header}
    policy.apply_scheme(environ)
    assert environ["wsgi.url_scheme"] == "https"
    with pytest.raises(RequestError, match="Contradictory scheme headers"):
        policy.apply_scheme(
            {**keys, "headers_raw": [*header, ("X-Forwarded-Ssl", "off")]}
        )


def test_methods_out_of_the_ordinary():
    policy = Policy(configured())
    policy.check_method("PURGE")
    for method in ("get", "X" * 21, "AB", "A#B"):
        with pytest.raises(RequestError, match="Invalid HTTP method"):
            policy.check_method(method)
    Policy(configured(permit_unconventional_http_method=True)).check_method("get")


def test_where_an_application_is_mounted():
    environ = {"SCRIPT_NAME": "/sub", "PATH_INFO": "/sub/page"}
    Policy.strip_script_name(environ)
    assert environ["PATH_INFO"] == "/page"
    with pytest.raises(RequestError, match="does not start with SCRIPT_NAME"):
        Policy.strip_script_name({"SCRIPT_NAME": "/sub", "PATH_INFO": "/other"})
