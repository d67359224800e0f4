"""The wake-up descriptor of signals, among loops of uvloop's that green code runs.

uvloop takes it for a run, and puts back what it has found when the run ends. The runs of green
threads overlap: one that began later may end later, and put back what was another's, which has
been closed meanwhile. uvloop fails then, and its loop counts as running for ever. So it finds
none here, and whoever goes on running has it afterwards.
"""

from __future__ import annotations

import signal

from .._std.originals import in_main_thread


class WakeupClaim:
    """The descriptor for one run, from before it begins until it has ended."""

    __slots__ = ("_found", "_own")

    def __init__(self) -> None:
        self._found = signal.set_wakeup_fd(-1)
        self._own = -1
        _claims.append(self)

    def note(self) -> None:
        """Note what the loop, which runs now, has set."""
        if self._own != -1:
            return
        self._own = signal.set_wakeup_fd(-1)
        _set(self._own)

    def end(self) -> None:
        """Have the descriptor go to whoever runs on."""
        place = _claims.index(self)
        _claims.remove(self)
        if place == len(_claims):
            _set(self._found)
        else:
            _claims[place]._found = self._found
            _set(_claims[-1]._own)

    def forget(self) -> None:
        """In a forked child, where the descriptor is nobody's."""
        _claims.remove(self)


# In the order in which the runs began.
_claims: list[WakeupClaim] = []


def claim_wakeup() -> WakeupClaim | None:
    """Return the claim of a loop of uvloop's that is about to run, if it will make one."""
    return WakeupClaim() if in_main_thread() else None


def _set(descriptor: int) -> None:
    try:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    except (OSError, ValueError):
        # Closed by whoever set it.
        signal.set_wakeup_fd(-1)
