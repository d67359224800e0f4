"""Not offered: eventlet's hub on libevent, which it has given up, too."""

from __future__ import annotations

from .._std.absences import refuse_import as _refuse_import

_refuse_import(__name__)
