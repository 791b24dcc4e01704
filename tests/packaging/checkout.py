# SPDX-License-Identifier: Apache-2.0
"""A copy of set-up, and stand-ins for the programs that would change the machine or ask a network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("pyproject.toml", "scripts", "requirements")
# What setup.sh calls and may really have. Others are stand-ins, or absent.
REAL = (
    *(
        "sh",
        "cat",
        "chown",
        "cksum",
        "cut",
        "dirname",
        "env",
        "find",
        "grep",
        "head",
        "id",
        "ldconfig",
        "ldd",
    ),
    *("ln", "mkdir", "mktemp", "mv", "realpath", "rm", "sed", "sha256sum", "stat", "tail", "tar", "touch"),
    *("uname", "busybox", "debootstrap", "dockerd", "fusermount", "git", "hackbench", "perf", "runc"),
    *("qemu-system-x86_64", "stress-ng", "systemd-analyze"),
)
PYTHON = os.path.realpath(sys.executable)

# Makes an environment with a pip that notes what it was asked for, and then says and does what PIP has.
PYTHON3 = f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {PYTHON} "$@"
{PYTHON} -m venv --without-pip "$3" || exit
for site in "$3"/lib/python3*/site-packages; do mkdir "$site/pip"; done
cat >"$site/pip/__main__.py" <<'END'
import os, signal, sys
with open(os.environ["NOTES"], "a", encoding="utf-8") as notes:
    print("pip", *sys.argv[1:], file=notes)
exec(os.environ.get("PIP", ""))
END
printf '#!%s/bin/python3\\n' "$(realpath "$3")" >"$3/bin/pip"
"""


class Checkout:
    """`run()` starts its setup.sh. `path` may be renamed; `notes` has what stand-ins were asked for."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "checkout"
        self.path.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, self.path / name)
        self._notes = directory / "notes"
        self.programs = directory / "programs"
        self.programs.mkdir()
        for name in REAL:
            found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            assert found, f"{name} is missing: make test sets it up"
            (self.programs / name).symlink_to(found)
        self.stand_in("python3", PYTHON3)
        for name in ("apt-get", "apt-cache", "sudo"):
            self.stand_in(name, f'#!/bin/sh\necho "{name} $*" >>"$NOTES"\n')
        (self.path / ".cache/compose-2.40.3").mkdir(parents=True)
        self._write(self.path / ".cache/compose-2.40.3/docker-compose", "#!/bin/sh\n")
        # Of the system's own Python, which lies outside, it knows nothing.
        for script in (self.path / "scripts/setup").glob("*.sh"):
            text = script.read_text(encoding="utf-8")
            script.write_text(text.replace("/usr/bin/python3 python3.14", "python3.14"), encoding="utf-8")
        script = self.path / "scripts/setup.sh"
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("PATH=$PATH:/usr/sbin:/sbin", ""), encoding="utf-8")

    def stand_in(self, name: str, text: str) -> None:
        """A program in the place of another."""
        (self.programs / name).unlink(missing_ok=True)
        self._write(self.programs / name, text)

    def without(self, name: str) -> None:
        """Take a program away."""
        (self.programs / name).unlink()

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, purpose: str = "run", *, umask: int = 0o022, **environment: str):
        """Start it, and return when it has ended."""
        return subprocess.run(
            [self.path / "scripts/setup.sh", purpose],
            env={"PATH": str(self.programs), "NOTES": str(self._notes), "HOME": "/", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            umask=umask,
        )

    def notes(self) -> list[str]:
        """What stand-ins were asked for since this was last called."""
        lines = self._notes.read_text(encoding="utf-8").splitlines() if self._notes.exists() else []
        self._notes.unlink(missing_ok=True)
        return lines
