"""Testing green code with pytest and unittest.

With greenio installed, pytest knows the marker ``greenio`` and the fixtures `hub`,
`virtual_clock`, `sequencer`, `no_leaks`, `no_blocking` and `unseen_failures`; what they hand
out, and what tests of other kinds need, is here.
"""

from ._std.public_names import claim
from ._testing.case import GreenTestCase as GreenTestCase
from ._testing.clock import VirtualClockLoop as VirtualClockLoop
from ._testing.leaks import LeakCheck as LeakCheck
from ._testing.leaks import Leaks as Leaks
from ._testing.sequencer import Sequencer as Sequencer
from ._testing.sequencer import wait_all_parked as wait_all_parked

__all__ = [
    "GreenTestCase",
    "LeakCheck",
    "Leaks",
    "Sequencer",
    "VirtualClockLoop",
    "wait_all_parked",
]

claim(globals())
