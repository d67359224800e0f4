"""`greenio.support`: small helpers that programs written for eventlet import."""

from __future__ import annotations

import errno

import pytest

from greenio import support


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EPIPE, "broken pipe"), errno.EPIPE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), errno.ECONNRESET),
        (ValueError(7, "a number first"), 7),
        (OSError("no number"), None),
        (ValueError(), None),
    ],
)
def test_the_number_of_an_error(error, number):
    assert support.get_errno(error) == number


def test_text_of_bytes():
    assert support.bytes_to_str(b"text") == "text"
    assert support.bytes_to_str("text") == "text"
    assert support.bytes_to_str("\xe9".encode(), "utf-8") == "\xe9"
    with pytest.raises(UnicodeDecodeError):
        support.bytes_to_str(b"\xe9")


def test_what_is_there_by_an_old_name_warns_who_uses_it():
    @support.wrap_deprecated("old_call", "new_call")
    def add(first, second=1):
        """Add."""
        return first + second

    @support.wrap_deprecated("Old", "New")
    class Thing:
        def __init__(self, value):
            self.value = value

    with pytest.warns(DeprecationWarning, match="old_call is deprecated: use new_call"):
        assert add(2, second=3) == 5
    assert add.__doc__ == "Add."
    with pytest.warns(DeprecationWarning, match="Old is deprecated: use New") as seen:
        assert Thing(3).value == 3
    assert seen[0].filename == __file__
    assert Thing.__name__ == "Thing"


def test_its_modules_are_imported_by_who_asks():
    assert support.greenlets.__name__ == "greenio.support.greenlets"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = support.nothing
