# SPDX-License-Identifier: Apache-2.0
"""A systemd of our own, in namespaces, on this machine's files: see boot.sh."""

import contextlib
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.load import in_cgroup

from .units import ROOT

_BOOT_S = 30.0
_SPACES = ("mount", "pid", "cgroup", "net", "uts", "ipc")


class Booted:
    """Runs commands in there."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(self, *command: str, network: bool = True, check: bool = True, **options):
        """A command's result; without `network` it has that of the machine instead of the system's own."""
        result = subprocess.run(
            self._inside(command, network=network), capture_output=True, text=True, **options
        )
        assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}{self.log()}"
        return result

    @contextmanager
    def started(self, *command: str):
        """A command that runs until its input ends, which is the end of the block."""
        process = subprocess.Popen(
            self._inside(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            yield process
            process.stdin.close()
            process.wait(20)

    def _inside(self, command, *, network: bool = True) -> list[str]:
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        return [*enter, *(["--net"] if network else []), "--", *command]

    def make(self, target: str) -> str:
        """What `make` said of a target; pip needs the machine's network."""
        return self.run("make", "-C", str(ROOT), target, network=False).stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def status(self, unit: str) -> dict[str, str]:
        """What the kernel says of a unit's main process."""
        text = self.run("cat", f"/proc/{self.show(unit, 'MainPID')}/status").stdout
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def into(self, unit: str) -> list[str]:
        """The command before another one that has it see the files that a unit's main process sees."""
        return ["nsenter", f"--target={self.show(unit, 'MainPID')}", "--mount"]

    def log(self) -> str:
        """What all units said."""
        return self.run("journalctl", "--no-pager", "--quiet", check=False).stdout if self._pid else ""

    def wait_for(self, condition, seconds: float = 60):
        """The condition's first true value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.2)
        raise AssertionError(f"did not happen in time; log:\n{self.log()}")


@contextmanager
def booted(space: Path, cgroup: Path):
    """A running system; all of it is gone at the end."""
    script = str(Path(__file__).with_name("boot.sh"))
    unshare = ["unshare", *(f"--{name}" for name in _SPACES), "--fork", "--kill-child"]
    command = [*unshare, "--propagation=private", "sh", script, str(space), str(ROOT)]
    with in_cgroup(cgroup, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            system = Booted(_only_child(process))
            system.wait_for(lambda: _is_running(system), _BOOT_S)
            system.run("systemctl", "start", "systemd-journald.socket", "systemd-journald.service")
            yield system
        finally:
            (cgroup / "cgroup.kill").write_text("1", encoding="ascii")
            process.wait(20)
            _remove_cgroups_below(cgroup)


def _only_child(process) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        if pids := children.read_text(encoding="ascii").split():
            return int(pids[0])
        time.sleep(0.02)
    raise AssertionError(f"unshare ended: {process.stdout.read().decode()}")


def _is_running(system: Booted) -> bool:
    return system.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"


def _remove_cgroups_below(cgroup: Path) -> None:
    deadline = time.monotonic() + 10
    below = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
    while below and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # a process in it has not quite ended
            below[0].rmdir()
            del below[0]
    assert not below


SCRAPE = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())"
# SIOCSIFADDR for lo:1 (linux/sockios.h): 192.0.2.1, which stands for an address that others can reach.
ADD_ADDRESS = """
import fcntl, socket, struct
request = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8916, request)
"""


def scrape(system: Booted, address: str = "127.0.0.1:28283") -> str | None:
    """The metrics' text; None if they can't be had."""
    result = system.run(sys.executable, "-c", SCRAPE, f"http://{address}/metrics", check=False)
    return result.stdout.rstrip("\n") + "\n" if result.returncode == 0 else None
