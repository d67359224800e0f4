"""The standard `os` module; reading, writing and waiting park the green thread."""

from typing import TYPE_CHECKING, Any

from .._net.descriptor_io import close as close
from .._net.descriptor_io import read as read
from .._net.descriptor_io import readv as readv
from .._net.descriptor_io import sendfile as sendfile
from .._net.descriptor_io import splice as splice
from .._net.descriptor_io import write as write
from .._net.descriptor_io import writev as writev
from .._net.fifo import open_descriptor as _open_descriptor
from .._net.files import fdopen as fdopen
from .._patch.children import wait as wait
from .._patch.children import waitpid as waitpid
from .._patch.modules import complete as _complete

if TYPE_CHECKING:
    from os import *


def open(*args: Any, **kwargs: Any) -> int:  # noqa: A001 - the name that is replaced
    """Open a file without blocking others, as ``os.open(path, flags, mode, dir_fd)``.

    Args:
        *args: As for `os.open`; `dir_fd` may come fourth.
        **kwargs: As for `os.open`; ``file`` is eventlet's name for `path`.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened.
    """
    if "file" in kwargs:
        kwargs["path"] = kwargs.pop("file")
    return _open_descriptor(*args, **kwargs)


_complete(globals(), "os")
