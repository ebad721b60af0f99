"""What is written for whoever reads it, who may leave."""

from __future__ import annotations

import errno
from typing import TextIO


def write_out(stream: TextIO, text: str) -> None:
    """Write a text at once.

    Raises:
        BrokenPipeError: nobody reads the stream any more.
        OSError: it cannot be written.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno == errno.EINVAL:  # what Windows says of a pipe that nobody reads
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more") from error
        raise
