# SPDX-License-Identifier: Apache-2.0
"""One stage as its unit starts it, as far as that goes without systemd: user, capabilities, directories."""

import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Self

from wattline.cli.up import UpSettings
from wattline.pipeline import SERVICES
from wattline.wire.rundir import DIRECTORY_MODE

from .units import STAGES, words

GROUP = UpSettings().up_first_id
USERS = {stage: GROUP + number for number, stage in enumerate(SERVICES)}


def make_directories(run: Path) -> None:
    """What RuntimeDirectory= makes: WATTLINE_RUN is root's, each directory in it its stage's."""
    for stage, user in USERS.items():
        (run / stage).mkdir()
        os.chown(run / stage, user, GROUP)
        (run / stage).chmod(DIRECTORY_MODE)


def capabilities(stage: str) -> set[str]:
    """Those of the unit, in setpriv's spelling."""
    return {
        name.removeprefix("CAP_").lower() for name in words(STAGES[stage], "Service", "CapabilityBoundingSet")
    }


class Stage:
    """A stage with these capabilities and no more; the end of the block stops it."""

    def __init__(
        self, program: Path, stage: str, held: set[str], bind: tuple[Path, Path] | None, **settings
    ) -> None:
        """`bind`: a directory and where the stage sees it, as BindPaths= has it."""
        some = "".join(f",+{name}" for name in sorted(held))
        command = [
            "setpriv",
            f"--reuid={USERS[stage]}",
            f"--regid={GROUP}",
            "--clear-groups",
            "--no-new-privs",
            *(f"--{kind}=-all{some}" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
            str(program),
            stage,
        ]
        if bind is not None:
            command = [
                "unshare",
                "-m",
                "sh",
                "-c",
                'mount --bind "$0" "$1" && shift && exec "$@"',
                *map(str, bind),
                *command,
            ]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed at the end of the block
        self.process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd="/",
            umask=0o027,
            env={
                "PATH": "/usr/bin:/bin",
                **{f"WATTLINE_{name.upper()}": str(value) for name, value in settings.items()},
            },
        )

    @property
    def log(self) -> str:
        """What it has said."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.terminate()
        try:
            assert self.process.wait(20) == 0, self.log
        finally:
            if _exception[0] is not None:
                print(self.log)
            self.process.kill()
            self._log.close()


class Meter:
    """A RAPL package as files that only root may read, at 10 W from the beginning to the end of the block."""

    def __init__(self, sysfs: Path) -> None:
        directory = sysfs / "class/powercap/intel-rapl:0"
        directory.mkdir(parents=True)
        (directory / "name").write_text("package-0\n", encoding="ascii")
        (directory / "max_energy_range_uj").write_text("262143328850\n", encoding="ascii")
        self._descriptor = os.open(directory / "energy_uj", os.O_RDWR | os.O_CREAT, 0o400)
        self._ended = threading.Event()
        self._write(0)
        self._thread = threading.Thread(target=self._run)

    def _write(self, energy_uj: int) -> None:
        os.pwrite(self._descriptor, b"%020d\n" % energy_uj, 0)  # always as long: no reader sees half of it

    def _run(self) -> None:
        energy_uj = 0
        while not self._ended.wait(0.05):
            energy_uj += 500_000
            self._write(energy_uj)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._descriptor)
