# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.cli.instance RUN`: hold the locks of a Wattline in a run directory until ended.

All in one process: what other programs see of `up` and its services, without what they do.
"""

import argparse
import os
import signal
from pathlib import Path

from wattline.pipeline import SERVICES
from wattline.wire.rundir import DirectoryLock, Lock, ServiceDirectory, prepare_run

from .change_user import become

PIN_NAME = "0123abcd-4567cdef-cpu_time"


def hold(run: Path, *, services=SERVICES, up: bool = True) -> list[Lock]:
    """Take the locks, with the directories around them as Wattline makes them."""
    prepare_run(run)
    locks = [Lock(run / "lock")] if up else []
    for service in services:
        directory = ServiceDirectory(run, service)
        directory.prepare()
        directory.pid.write_text(f"{os.getpid()}\n", encoding="ascii")
        locks.append(Lock(directory.lock))
    assert all(lock.acquire() for lock in locks)
    return locks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--services", default=",".join(SERVICES))
    parser.add_argument("--no-up", action="store_true")
    parser.add_argument("--pins", type=Path)
    parser.add_argument("--uid", type=int, default=0)
    given = parser.parse_args()
    if given.uid:
        become(given.uid)
    locks = hold(given.run, services=given.services.split(","), up=not given.no_up)
    if given.pins is not None:
        given.pins.mkdir(mode=0o700, exist_ok=True)
        (given.pins / PIN_NAME).mkdir(exist_ok=True)
        locks.append(DirectoryLock(given.pins))
        assert locks[-1].acquire()
    print(f"holds {os.getpid()}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
