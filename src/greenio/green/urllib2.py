"""Not offered: a module of Python 2's."""

from __future__ import annotations

from .._std.absences import refuse_import as _refuse_import

_refuse_import(__name__)
