"""What applications may say in an answer's head, and what is said of what they may not."""

from __future__ import annotations

import pytest

from greenio._http import answer
from greenio._http.answer import AnswerHeads
from greenio._http.logs import ErrorFile


@pytest.fixture
def heads():
    return AnswerHeads(capitalize=True)


def test_a_head_is_written_out_once(heads):
    head = heads.make("200 OK", [("content-type", "text/plain")])
    assert head.lines == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain"
    assert head.is_plain
    assert heads.make("200 OK", [("content-type", "text/plain")]) is head
    assert heads.make("200 OK", [("content-type", "text/html")]) is not head


def test_no_more_than_some_heads_are_kept(heads, monkeypatch):
    monkeypatch.setattr(answer, "_MOST_HEADS", 2)
    first = heads.make("200 OK", [("x-number", "1")])
    assert heads.make("200 OK", [("x-number", "1")]) is first
    for number in (2, 3):
        heads.make("200 OK", [("x-number", str(number))])
    again = heads.make("200 OK", [("x-number", "1")])
    assert again is not first
    assert again.lines == first.lines


@pytest.mark.parametrize(
    "headers",
    [
        [["x-a", "1"], ["x-b", "2"]],
        (("x-a", "1"), ("x-b", "2")),
        [("x-a", 1), ("x-b", 2)],
    ],
    ids=["lists", "a tuple", "numbers"],
)
def test_headers_of_other_types(heads, headers):
    for _ in range(2):
        lines = heads.make("200 OK", headers).lines
        assert lines == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2"


def test_numbers_that_are_equal_are_not_the_same_text(heads):
    assert heads.make("200 OK", [("x-a", 1)]).lines.endswith(b"X-A: 1")
    assert heads.make("200 OK", [("x-a", True)]).lines.endswith(b"X-A: True")


def test_what_a_header_means(heads):
    head = heads.make("200 OK", [("Date", "now"), ("Content-Length", "3")])
    assert head.has_date
    assert head.length == 3
    assert b"Date: now" in head.lines
    assert b"Content-Length" not in head.lines
    assert heads.make("200 OK", [("Connection", "close")]).close
    assert heads.make("101 X", [("Connection", "Upgrade")]).upgrade == "Upgrade"
    assert heads.make("205 Reset Content", []).length == 0
    twice = [("Content-Length", "3"), ("content-length", "3")]
    assert heads.make("200 OK", twice).length == 3


@pytest.mark.parametrize(
    ("status", "headers", "error", "match"),
    [
        (200, [], TypeError, "a status must be a str, not 200"),
        ("200 OK", {"x-a": "1"}, TypeError, "headers must be a list of pairs"),
        ("200 OK", [3], TypeError, "3"),
        ("200 OK", [("x-a", "a\nb")], ValueError, "cannot hold CR, LF or NUL"),
        ("OK", [], ValueError, "this is no status: 'OK'; write '200 OK'"),
        ("100 Continue", [], ValueError, "an answer's status is a final one"),
        ("200 OK", [("x-a", "\u20ac")], ValueError, r"up to \\xff only"),
        ("200 OK", [("Content-Length", "x")], ValueError, "is no number: 'x'"),
        (
            "200 OK",
            [("Content-Length", "3"), ("Content-Length", "4")],
            ValueError,
            "is there twice, and differs",
        ),
    ],
)
def test_what_cannot_be_sent(heads, status, headers, error, match):
    with pytest.raises(error, match=match):
        heads.make(status, headers)


def test_a_status_without_a_reason(heads):
    assert heads.make("404", []).lines == b"HTTP/1.1 404 "


def test_what_is_written_to_wsgi_errors_is_logged():
    lines = []

    class Log:
        error = lines.append

    errors = ErrorFile(Log())
    assert errors.write("one\n") == 4
    errors.writelines(["two", "three\n", "\n"])
    # As `print` writes: in pieces.
    print("four", 4, file=errors)
    assert lines == ["one", "twothree", "four 4"]
    errors.write("five")
    errors.flush()
    errors.flush()
    assert lines[3:] == ["five"]


@pytest.mark.parametrize(
    ("capitalize", "name"), [(True, "X-Meta-\xc3\x96l"), (False, "x-meta-\xc3\x96L")]
)
def test_a_name_may_hold_utf_8(capitalize, name):
    head = AnswerHeads(capitalize).make("200 OK", [("x-meta-\xc3\x96L", "1")])
    assert head.lines == f"HTTP/1.1 200 OK\r\n{name}: 1".encode("latin-1")
