"""What asyncio sees of a standard module: the original, and what the user put into it.

asyncio is to have `socket.getaddrinfo` as it was before the patch. But a program, a test
above all, may put a function of its own into the module (``mock.patch``), and expects
asyncio to call it. So asyncio gets a *proxy*: a module that looks at the live one. Where
it finds what was there when the patching was done, it shows the original; where it finds
something else, it shows that.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

_MISSING = object()


class _ModuleProxy(ModuleType):
    """A module whose functions and classes are looked up anew each time."""

    _greenio_live: ModuleType
    _greenio_view: ModuleType
    # The names of the live module as they were when it was patched.
    _greenio_known: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._greenio_live, name)
        if value is not self._greenio_known.get(name, _MISSING):
            return value
        return getattr(self._greenio_view, name, value)


_proxies: dict[str, _ModuleProxy] = {}


def proxy_for(live: ModuleType, view: ModuleType) -> ModuleType:
    """Make the proxy of a standard module.

    Args:
        live: The module in `sys.modules`.
        view: What it was before it was patched.
    """
    known = _proxies.get(live.__name__)
    if known is not None:
        return known
    proxy = _proxies[live.__name__] = _ModuleProxy(view.__name__, view.__doc__)
    vars(proxy).update(
        (name, value)
        for name, value in vars(view).items()
        # Numbers and the like are looked up often, and by nobody replaced.
        if not callable(value) and not name.startswith("__")
    )
    proxy._greenio_live = live
    proxy._greenio_view = view
    proxy._greenio_known = dict(vars(live))
    return proxy


def note_live_modules() -> None:
    """Take the live modules as they are now for patched, not for changed by the user."""
    for proxy in _proxies.values():
        proxy._greenio_known = dict(vars(proxy._greenio_live))
