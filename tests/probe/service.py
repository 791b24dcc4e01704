# SPDX-License-Identifier: Apache-2.0
"""The probe as a process."""

import signal
import subprocess
import time
from pathlib import Path

from wattline import isolated
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory


def start(run_directory: Path, pin_path: Path, *flags, prefix=(), code=isolated.HERE, **options):
    """Start a probe with ticks of 0.1 s; `prefix`: a command to start it by."""
    own = ("--run", str(run_directory), "--probe.pin-path", str(pin_path), "--interval-s", "0.1")
    return subprocess.Popen(
        [*prefix, *code.command("services.probe", *own, *flags)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def frame_after(run_directory: Path, mono_ns: int, seconds=30):
    """The first frame later than a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        last = read_last(ServiceDirectory(run_directory, "probe"))
        if last is not None and last.mono_ns > mono_ns:
            return last
        time.sleep(0.02)
    raise AssertionError("no frame came")


def stop(process) -> str:
    """End it as a supervisor would; what it said."""
    process.send_signal(signal.SIGTERM)
    output, _errors = process.communicate(timeout=20)
    return output
