# SPDX-License-Identifier: Apache-2.0
"""Order among test runs on one machine: a test that changes it for all runs while no other one does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Existing files that every run on the machine sees: a lock on one of them leaves nothing behind.
_MACHINE = Path("/sys/devices/system/cpu")
_RUN = _MACHINE / "possible"  # held by each run, from its start to its end
_TURN = _MACHINE / "present"  # held while waiting, so that a test that wants to be alone gets its turn


@contextmanager
def among_neighbours(*, alone: bool) -> Iterator[None]:
    """Run beside other runs' tests; `alone`: after those that are running, and before the next ones."""
    with ExitStack() as stack:
        turn, machine = (_opened(stack, path) for path in (_TURN, _MACHINE))
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield


def is_alone_at_start() -> bool:
    """Hold this run's place until the process ends; whether there is no other run on the machine."""
    place = os.open(_RUN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(place, fcntl.LOCK_SH)
    return True


def _opened(stack: ExitStack, path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
