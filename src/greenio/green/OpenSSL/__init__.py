"""`OpenSSL` (pyOpenSSL); the connections of `SSL` are green."""

from ..._patch.modules import complete as _complete
from . import SSL as SSL
from . import crypto as crypto
from . import version as version

_complete(globals(), "OpenSSL")
