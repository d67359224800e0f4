"""The standard `threading` over green threads and green locks."""

from typing import TYPE_CHECKING

from .._patch.conditions import pass_notifications_on as _pass_notifications_on
from .._patch.modules import execute as _execute
from .._patch.modules import share_main_thread as _share_main_thread
from .._patch.threading import green_names as _green_names
from .._patch.threads import forget as _forget
from .._std.public_names import claim as _claim

if TYPE_CHECKING:
    from threading import *

if _execute(globals(), "threading"):
    _share_main_thread(globals())
    _forget()
    globals().update(_green_names(globals()))
    _pass_notifications_on(globals()["Condition"])
    _claim(globals())
