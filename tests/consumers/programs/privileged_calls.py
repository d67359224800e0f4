"""What `privileged.py` has done by a process with privileges, which imports this too."""

import logging
import os
import subprocess
import threading
import time

from oslo_privsep import priv_context

context = priv_context.PrivContext(
    __name__,
    cfg_section="example_privileged",
    pypath=f"{__name__}.context",
    capabilities=[],
)


@context.entrypoint
def add(a, b):
    return a + b


@context.entrypoint
def who():
    return os.getpid(), threading.get_ident(), type(threading.Lock()).__module__


made = {}


@context.entrypoint
def meet():
    """Wait for another call, in another thread."""
    # Made here: what eventlet's patched parent makes is not for OS threads.
    made.setdefault("two", threading.Barrier(2)).wait(60)
    return True


@context.entrypoint
def fail(text):
    raise LookupError(text)


@context.entrypoint
def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@context.entrypoint
def big(size):
    logging.getLogger("in the daemon").warning("big %s", size)
    return "x" * size


@context.entrypoint_with_timeout(0.2)
def too_long():
    time.sleep(3)
