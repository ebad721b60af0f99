"""Write to a stream whose reader may go away."""

from __future__ import annotations

import errno
from typing import TextIO


def write_out(stream: TextIO, text: str) -> None:
    """Write a text and flush the stream.

    Raises:
        BrokenPipeError: the reader has closed the stream.
        OSError: the text cannot be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno == errno.EINVAL:  # how Windows reports a pipe whose reader is gone
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more") from error
        raise
