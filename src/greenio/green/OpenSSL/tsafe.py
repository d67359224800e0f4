"""Not offered: pyOpenSSL's module of old, which it has no more."""

from __future__ import annotations

from ..._std.absences import refuse_import as _refuse_import

_refuse_import(__name__)
