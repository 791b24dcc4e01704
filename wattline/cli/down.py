# SPDX-License-Identifier: Apache-2.0
"""`wattline down`: end what runs in WATTLINE_RUN and remove whatever a crash left there and in the kernel.

A process is ours if it holds the lock of one of our directories, as the kernel tells; a pid in a file alone
proves nothing. Pins are ours to remove when no probe holds their directory.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.errors import Fatal
from wattline.pins import remove_pins
from wattline.settings import CommonSettings, load, meaning
from wattline.wire.rundir import SERVICES, Lock, ServiceDirectory, lock_holder

_STOP_S = 30.0  # longer than `up` may take to stop its five


class DownSettings(CommonSettings, kw_only=True, frozen=True):
    """Stop what runs in WATTLINE_RUN and remove whatever a crash left, totals included."""

    probe_pin_path: Annotated[
        Path, meaning("directory in a BPF file system where the program and its counters are pinned")
    ] = field(default=Path("/sys/fs/bpf/wattline"), name="probe.pin-path")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 if nothing is left."""
    settings, _warnings = load(DownSettings, "down", arguments, os.environ, borrowed_table="probe")
    run = settings.run
    if run.exists() and run.lstat().st_uid not in (0, os.geteuid()):
        raise Fatal(f"{run} belongs to uid {run.lstat().st_uid}: not ours to clean", Fatal.PERMISSION)
    try:
        # `up` first, or it would start the others again.
        for name, lock in [("up", run / "lock"), *((s, ServiceDirectory(run, s).lock) for s in SERVICES)]:
            _end_holder(name, lock)
        _remove_run(run)
        _remove_pins(settings.probe_pin_path)
    except PermissionError as error:
        raise Fatal(f"{error}; run it as the user who started Wattline", Fatal.PERMISSION) from None
    return 0


def _end_holder(name: str, lock: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = _our_holder(lock)
        if pid is None:
            return
        print(f"{name}: ending process {pid} (signal {number.name})")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline_s = time.monotonic() + _STOP_S
        while lock_holder(lock) == pid and time.monotonic() < deadline_s:
            time.sleep(0.05)
    if (pid := lock_holder(lock)) is not None:
        raise Fatal(f"{name}: process {pid} still holds {lock}")


def _our_holder(lock: Path) -> int | None:
    """Who holds a lock, if it is a process of the user to whom the lock belongs."""
    pid = lock_holder(lock)
    if pid is None:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        owner = lock.lstat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])
    return pid if uid == owner else None


def _remove_run(run: Path) -> None:
    for service in SERVICES:
        path = ServiceDirectory(run, service).path
        if path.exists():
            print(f"{service}: removing {path}")
            shutil.rmtree(path)
    (run / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a mount point, or somebody else's things in it
        run.rmdir()


def _remove_pins(pins: Path) -> None:
    if not pins.exists():
        return
    with Lock(pins) as lock:
        if not lock.acquire():
            raise Fatal(
                f"{pins} is held by a probe of another WATTLINE_RUN (pid {lock_holder(pins)}): left alone"
            )
        for path in remove_pins(pins):
            print(f"probe: unloading {path}")
    with contextlib.suppress(OSError):  # somebody else's things in it
        pins.rmdir()
