"""The standard `urllib` package; `request` is green."""

from ..._patch.modules import package_of as _package_of

_package_of(globals(), "urllib")
