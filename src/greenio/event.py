"""A value or a failure that one sends and any number wait for."""

from __future__ import annotations

from ._std.errors import AlreadySentError as AlreadySentError
from ._std.public_names import claim
from ._sync.event import NOT_USED as NOT_USED
from ._sync.event import Event as Event
from ._sync.event import EventStatistics as EventStatistics

__all__ = ["NOT_USED", "AlreadySentError", "Event", "EventStatistics"]

claim(globals())
