"""Looking into a running program, and switches for tracking mistakes down."""

from __future__ import annotations

from ._debug.lag import measure_lag as measure_lag
from ._debug.lag import measure_lag_async as measure_lag_async
from ._debug.monitor import Blocking as Blocking
from ._debug.monitor import monitor as monitor
from ._debug.on_signal import run_info_on_signal as run_info_on_signal
from ._debug.run_info import format_run_info as format_run_info
from ._debug.spew import Spew as Spew
from ._debug.spew import spew as spew
from ._debug.spew import unspew as unspew
from ._debug.switches import format_asyncio_info as format_asyncio_info
from ._debug.switches import format_hub_listeners as format_hub_listeners
from ._debug.switches import format_hub_timers as format_hub_timers
from ._debug.switches import format_threads_info as format_threads_info
from ._debug.switches import hub_blocking_detection as hub_blocking_detection
from ._debug.switches import hub_exceptions as hub_exceptions
from ._debug.switches import hub_listener_stacks as hub_listener_stacks
from ._debug.switches import (
    hub_prevent_multiple_readers as hub_prevent_multiple_readers,
)
from ._debug.switches import hub_timer_stacks as hub_timer_stacks
from ._debug.switches import tpool_exceptions as tpool_exceptions
from ._debug.tracing import Tracer as Tracer
from ._debug.tracing import set_tracer as set_tracer
from ._std.public_names import claim

__all__ = [
    "Blocking",
    "Spew",
    "Tracer",
    "format_asyncio_info",
    "format_hub_listeners",
    "format_hub_timers",
    "format_run_info",
    "format_threads_info",
    "hub_blocking_detection",
    "hub_exceptions",
    "hub_listener_stacks",
    "hub_prevent_multiple_readers",
    "hub_timer_stacks",
    "measure_lag",
    "measure_lag_async",
    "monitor",
    "run_info_on_signal",
    "set_tracer",
    "spew",
    "tpool_exceptions",
    "unspew",
]

claim(globals())
