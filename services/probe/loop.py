# SPDX-License-Identifier: Apache-2.0
"""The probe's I/O and timing: loads the program if it isn't there, samples once a tick, unloads."""

import contextlib
import os
import stat
import subprocess
import sys
import time

from wattline.errors import Fatal
from wattline.pins import remove_pins
from wattline.service import Runtime
from wattline.wire.frames import Activity, AnyFrame, SourceState
from wattline.wire.rundir import Lock, lock_holder

from . import layout
from .capabilities import require_capabilities
from .mounts import BPFFS, have_mounted
from .read_maps import PinnedMaps
from .settings import ProbeSettings

SOURCE = "ebpf"
_LOADER_TIMEOUT_S = 60  # compiling takes well under a second; a starved machine gets its time


class ProbeStage:
    """One sample per tick, published as `activity`."""

    def __init__(self, settings: ProbeSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._directory = settings.probe_pin_path / layout.pin_name(
            settings.probe_process_rows, settings.probe_cgroup_rows
        )
        require_capabilities()
        self._lock = self._lock_pins()
        self._remove_others()
        self._maps = self._open() or self._load()
        self._lost_names = 0

    def on_frame(self, frame: AnyFrame) -> None:
        """The probe subscribes to nothing."""

    def on_tick(self, now_ns: int) -> None:
        """Sample, publish, and let go of those who ended long ago."""
        sample = self._maps.sample()
        self._runtime.publish(
            Activity,
            epoch=self._maps.epoch,
            mono_ns=sample.mono_ns,
            source=SOURCE,
            skew_ns=sample.skew_ns,
            cpus=sample.cpus,
            cgroups=sample.cgroups,
            processes=sample.processes,
            losses=sample.losses,
            sources=[SourceState(name=SOURCE, up=True)],
        )
        lost_names = sum(sample.losses.values())
        if lost_names > self._lost_names:
            self._lost_names = lost_names
            self._runtime.log.warning(
                "table_full",
                cause="a table in the kernel has no room: raise --probe.process-rows or --probe.cgroup-rows",
                **sample.losses,
            )
        self._maps.retire(now_ns - round(self._settings.probe_ended_s * 1e9))

    def close(self) -> None:
        """Say the last word; then unload the program, unless it is kept for the next probe."""
        try:
            self.on_tick(time.monotonic_ns())
        finally:
            self._maps.close()
            if self._settings.probe_keep:
                self._runtime.log.info("kept", pins=self._directory)
            else:
                remove_pins(self._directory.parent)
                with contextlib.suppress(OSError):  # somebody else's things are in it
                    self._directory.parent.rmdir()
            self._lock.close()

    def _lock_pins(self) -> Lock:
        """One probe per kernel: two that share pins would unload each other's program."""
        path = self._directory.parent
        try:
            if path.parent == BPFFS:
                have_mounted("bpf", BPFFS)
            path.mkdir(mode=0o700, exist_ok=True)
        except PermissionError as error:
            raise Fatal(f"{error}; start the probe as root", Fatal.PERMISSION) from None
        except OSError as error:
            raise Fatal(
                f"cannot make {path}: {error.strerror}; expected --probe.pin-path in a mounted "
                "BPF file system",
                Fatal.SETTINGS,
            ) from None
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise Fatal(
                f"{path} is not a directory that only uid {os.geteuid()} may write to: remove it, or choose "
                "another --probe.pin-path",
                Fatal.PERMISSION,
            )
        if path.is_mount():
            raise Fatal(
                f"--probe.pin-path {path} is a whole file system; expected a directory of our own in it",
                Fatal.SETTINGS,
            )
        lock = Lock(path)
        if not lock.acquire():
            raise Fatal(
                f"another probe (pid {lock_holder(path)}) holds {path}; a kernel needs one probe only, "
                "stop that one or give this one its own --probe.pin-path"
            )
        return lock

    def _open(self) -> PinnedMaps | None:
        try:
            maps = PinnedMaps(
                self._directory, self._settings.probe_process_rows, self._settings.probe_cgroup_rows
            )
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise Fatal(
                f"{error}; the probe needs CAP_BPF and CAP_PERFMON: start it as root", Fatal.PERMISSION
            ) from None
        self._runtime.log.info("attached", pins=self._directory, epoch=maps.epoch)
        return maps

    def _load(self) -> PinnedMaps:
        begun = time.monotonic()
        arguments = (
            str(self._directory),
            str(self._settings.probe_process_rows),
            str(self._settings.probe_cgroup_rows),
        )
        loader = subprocess.run(  # noqa: S603 our own module
            [sys.executable, "-m", f"{__package__}.load", *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=_LOADER_TIMEOUT_S,
            check=False,
        )
        if loader.returncode:
            raise Fatal(f"loading failed: {loader.stderr.strip()[-1500:]}", loader.returncode)
        self._runtime.log.info("loaded", seconds=round(time.monotonic() - begun, 2), pins=self._directory)
        maps = self._open()
        if maps is None:
            raise Fatal(f"the loader ended well, but there is nothing at {self._directory}")
        return maps

    def _remove_others(self) -> None:
        """Unload other versions of the program, and what a loader that was killed left half done."""
        for path in remove_pins(self._directory.parent, keep=self._directory):
            self._runtime.log.info("unloaded", pins=path)
