"""`OpenSSL.version`, which never waits."""

from ..._patch.modules import share as _share

_share(globals(), "OpenSSL.version")
