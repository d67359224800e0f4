"""An interactive console in a running program, reached by a socket.

::

    spawn(backdoor.backdoor_server, listen("/run/app.sock", family=socket.AF_UNIX))

``nc -U /run/app.sock`` then gives a prompt within the program, in a green thread beside
all others. Whoever reaches the socket can run anything as the program's user: take a
Unix socket in a directory of that user, or a port of this machine only.

At the prompt, ``run_info()`` prints who waits for what in the program. What is awaited
there is awaited on the program's loop. What is printed by code
entered there, and by the green threads and tasks that it starts, goes to the console:
while one is open, `sys.stdout`, `sys.stderr` and `sys.stdin` are looked up by context.
"""

from __future__ import annotations

from ._debug.backdoor import BackdoorWarning as BackdoorWarning
from ._debug.backdoor import FileProxy as FileProxy
from ._debug.backdoor import SocketConsole as SocketConsole
from ._debug.backdoor import backdoor as backdoor
from ._debug.backdoor import backdoor_server as backdoor_server
from ._std.public_names import claim

__all__ = [
    "BackdoorWarning",
    "FileProxy",
    "SocketConsole",
    "backdoor",
    "backdoor_server",
]

claim(globals())
