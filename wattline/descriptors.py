# SPDX-License-Identifier: Apache-2.0
"""How many descriptors a service may have open, and what each use may take of them.

libzmq aborts the process that has no descriptor for a new connection (ipc_listener.cpp, errno_assert), so
anyone who can connect could end a stage by a thousand connections. The limit is therefore raised at the
start, files that are kept open take a quarter of it, and a publisher cuts its connections when half of all
are in use.
"""

import contextlib
import resource
from pathlib import Path

_LIMIT_MAX = 65_536  # at 4 KB of memory for each connection
_OPEN = Path("/proc/self/fd")


def raise_limit() -> None:
    """Allow this process as many descriptors as it may ask for, 65,536 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _LIMIT_MAX if hard == resource.RLIM_INFINITY else min(hard, _LIMIT_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a filter of system calls may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Return how many this process may have open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _LIMIT_MAX if soft == resource.RLIM_INFINITY else soft


def files_max() -> int:
    """Return how many files may be kept open."""
    return limit() // 4


def crowd() -> tuple[int, int] | None:
    """Return (how many are open, how many there should be at most) if there are too many.

    One call: since Linux 6.2 the size of the directory is their number (proc(5)); before, they are counted.
    """
    most = limit() // 2
    count = _OPEN.stat().st_size or sum(1 for _one in _OPEN.iterdir())
    return (count, most) if count > most else None
