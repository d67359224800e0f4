"""`OpenSSL.version`, which never waits."""

from ..._patch._modules import share as _share

_share(globals(), "OpenSSL.version")
