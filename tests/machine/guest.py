# SPDX-License-Identifier: Apache-2.0
"""Real virtual machines: QEMU without acceleration, whose guest says so and then spins."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.load import in_cgroup

QEMU = "qemu-system-x86_64"
_SECTOR_BYTES = 512
_SIGNATURE = b"\x55\xaa"  # the last bytes of a boot sector
# mov al, 'W'; out 0xe9, al (the port of QEMU's -debugcon); jmp to itself
_PROGRAM = bytes.fromhex("b057 e6e9 ebfe")


def boot_image(path: Path) -> Path:
    """A floppy disk of one sector: its program writes a W and spins for ever."""
    path.write_bytes(_PROGRAM.ljust(_SECTOR_BYTES - len(_SIGNATURE), b"\0") + _SIGNATURE)
    path.chmod(0o644)
    return path


@contextlib.contextmanager
def spinning(
    cgroup: Path, image: Path, *arguments: str, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A machine that spins, in a cgroup; ended at the end. `before`: what starts QEMU, as setpriv does."""
    command = [
        *(*before, QEMU, *arguments),
        *("-machine", "pc,accel=tcg", "-m", "16", "-nodefaults", "-display", "none", "-debugcon", "stdio"),
        *("-drive", f"if=floppy,format=raw,readonly=on,file={image}", "-boot", "a"),
    ]
    with in_cgroup(cgroup, command, stdin=subprocess.DEVNULL, stdout=-1, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"W", "the guest did not run its boot sector"
        yield process
