# SPDX-License-Identifier: Apache-2.0
"""The simulated machine in a process of its own."""

import json
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from wattline import isolated
from wattline.mounts import mounts

from .needs import require_fuse

_DEADLINE_S = 10.0


class SimulatedRapl:
    """Such a tree (tree.py), from `with` to its end. `sysfs` takes the place of /sys."""

    process: subprocess.Popen[bytes]

    def __init__(self, mountpoint: Path, config: Mapping[str, Any] | None = None) -> None:
        self.sysfs = mountpoint
        self._config = config or {}

    def __enter__(self) -> Self:
        require_fuse()
        self.sysfs.mkdir(parents=True, exist_ok=True)
        command = self._command()
        # A session of its own: Ctrl-C is for whoever uses the meter, who still has to read it. Its stderr is
        # kept for the case that it fails: when all is well, fusermount grumbles in it.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._wait_ready()
        except BaseException:  # Ctrl-C as well: whoever fails to enter does not exit
            self.__exit__()
            raise
        return self

    def _command(self) -> list[str]:
        config = ["--config", json.dumps(self._config)]
        return isolated.command("wattline.selftest.tree", str(self.sysfs), *config)

    def _wait_ready(self) -> None:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], _DEADLINE_S)
        if not readable or self.process.stdout.readline() != b"ready\n":
            self.process.kill()
            _, complaint = self.process.communicate()
            raise RuntimeError(
                f"the simulated RAPL tree did not start: {complaint.decode(errors='replace')[-500:]}; "
                "it needs /dev/fuse, fusermount (fuse3) and libfuse2"
            )

    def __exit__(self, *_exception: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        self.wait_unmounted()

    def wait_unmounted(self) -> None:
        """A killed one is unmounted by the fusermount that it started, a moment later."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while is_mounted(self.sysfs):
            if time.monotonic() > deadline_s:
                subprocess.run(["fusermount", "-u", "-z", str(self.sysfs)], check=True)
                raise TimeoutError(f"{self.sysfs} stayed mounted for {_DEADLINE_S} s")
            time.sleep(0.01)

    def truth(self) -> dict[str, Any]:
        """All that the log says."""
        log: dict[str, Any] = json.loads((self.sysfs / "log").read_text(encoding="ascii"))
        return log

    def log(self) -> dict[str, Any]:
        """What has been served, and what is true, by zone."""
        zones: dict[str, Any] = self.truth()["zones"]
        return zones

    def freeze(self) -> None:
        """From now on no energy flows."""
        self._control("freeze")

    def fail(self, zone: str, error: str) -> None:
        """Opening and reading a zone's energy_uj fails from now on, as errno names it ("ENODEV")."""
        self._control(f"fail {zone} {error}")

    def heal(self, zone: str) -> None:
        """The zone can be read again."""
        self._control(f"heal {zone}")

    def hide(self, zone: str) -> None:
        """The zone, and what is within it, is not there any more."""
        self._control(f"hide {zone}")

    def show(self, zone: str) -> None:
        """The zone is there (again)."""
        self._control(f"show {zone}")

    def wrong(self, zone: str, reads: int, energy_uj: int) -> None:
        """So many of the next readings of a zone are off by so much."""
        self._control(f"wrong {zone} {reads} {energy_uj}")

    def _control(self, command: str) -> None:
        (self.sysfs / "control").write_text(command, encoding="ascii")


def is_mounted(path: Path) -> bool:
    """Whether something is mounted there; a mount whose server is dead counts."""
    return any(place == path for place, _kind in mounts())
