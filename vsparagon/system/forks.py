"""Forks of a process, which lack the threads that were started before them."""

from __future__ import annotations

import os

from vsparagon.errors import BackendFailure


def check_process(process: int) -> None:
    """Check that this process is the one that opened networks, because a fork of it would wait for ever.

    Args:
        process: id of the one that opened them.

    Raises:
        BackendFailure: this is another one.
    """
    if process != os.getpid():
        raise BackendFailure(
            "networks were opened before this process was forked, and a fork lacks the threads that compute them; "
            'open them in the fork only, or start processes with multiprocessing.get_context("spawn").'
        )
