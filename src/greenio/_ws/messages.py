"""`Message` and `UTF8Decoder`, for programs that read frames by themselves.

eventlet makes its messages of these, and has them as attributes of `RFC6455WebSocket`.
Here `reader` makes them otherwise; nothing in greenio uses these two.
"""

from __future__ import annotations

import codecs
from typing import Any

from .errors import FailedConnectionError

_TAIL = b"\x00\x00\xff\xff"
_CONTROL = 8


class UTF8Decoder:
    """Decodes text that comes in parts, and refuses at once what is none."""

    def __init__(self) -> None:
        self.decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder(
            "utf-8"
        )()

    def reset(self) -> None:
        """Forget what came."""
        self.decoder.reset()

    def decode(self, data: bytes, final: bool = False) -> str:
        """Decode a part.

        Raises:
            UnicodeDecodeError: This is no UTF-8.
        """
        return self.decoder.decode(data, final)


class Message:
    """A message whose frames are arriving.

    Args:
        opcode: Of its first frame.
        max_frame_length: How long it may be when it is inflated, in bytes.
        decoder: What decodes it, if it is text.
        decompressor: What inflates it, if it is compressed.
    """

    def __init__(
        self,
        opcode: int,
        max_frame_length: int,
        decoder: UTF8Decoder | None = None,
        decompressor: Any = None,
    ) -> None:
        self.opcode = opcode
        self.max_frame_length = max_frame_length
        self.decoder = decoder
        self.decompressor = decompressor
        self.data: list[bytes] = []
        self.finished: bool = False

    def push(self, data: bytes, final: bool = False) -> None:
        """Add what came; `final` if it was of the last frame."""
        self.finished = final
        self.data.append(data)

    def getvalue(self) -> str | bytes:
        """Return the message: str if there is a decoder.

        Raises:
            FailedConnectionError: It becomes too long.
            UnicodeDecodeError: It is no UTF-8.
        """
        data = b"".join(self.data)
        if self.decompressor and not self.opcode & _CONTROL:
            data = self.decompressor.decompress(data + _TAIL, self.max_frame_length)
            if self.decompressor.unconsumed_tail:
                raise FailedConnectionError(
                    1009,
                    f"the message inflates to more than the limit of "
                    f"{self.max_frame_length} bytes",
                )
        return self.decoder.decode(data, self.finished) if self.decoder else data
