"""The standard `xmlrpc` package; `client` and `server` are green."""

from ..._patch.modules import package_of as _package_of

_package_of(globals(), "xmlrpc")
