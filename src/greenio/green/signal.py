"""The standard `signal` module; handlers run for the main thread, whoever is running."""

import signal as _signal
from typing import TYPE_CHECKING, Any

from .._patch import signals as _signals
from .._patch.modules import complete as _complete
from .._patch.signal_handlers import unwrapped as _unwrapped
from .._patch.signal_handlers import wrapped as _wrapped

if TYPE_CHECKING:
    from signal import *

_set = _signal.signal
_get = _signal.getsignal


def signal(signalnum: Any, handler: Any) -> Any:
    """Set what handles a signal; see `signal.signal`.

    While the handler runs, it is the main thread. What it raises is raised in the main
    program, whichever green thread was running; KeyboardInterrupt ends that one first.
    """
    return _unwrapped(_set(signalnum, _wrapped(handler)))


def getsignal(signalnum: Any) -> Any:
    """Return what handles a signal; see `signal.getsignal`."""
    return _unwrapped(_get(signalnum))


# Not every system has them.
for _name in ("pause", "pthread_kill", "sigtimedwait", "sigwait", "sigwaitinfo"):
    if hasattr(_signal, _name):
        globals()[_name] = getattr(_signals, _name)

_complete(globals(), "signal")
