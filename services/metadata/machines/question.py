# SPDX-License-Identifier: Apache-2.0
"""What /proc says of a process that may run a machine: its command line, its user and its parent.

A command line may hold secrets: it goes to the table of hypervisors, and is neither kept nor logged.
"""

from dataclasses import dataclass
from pathlib import Path

from wattline.decimal import decimal

from .. import procfs
from .guest import arguments_of

# Of a command line. libvirt's for a machine with dozens of disks takes some 30 kB.
COMMAND_LINE_BYTES_MAX = 65536
_UID, _PARENT = b"Uid:", b"PPid:"  # lines of /proc/PID/status (man 5 proc); the name in it has no line ends
_ROOT_UID = 0
_ENDED = (b"Z", b"X")  # states of /proc/PID/stat: ended, and not waited for by their parent


@dataclass(frozen=True)
class Answer:
    """What a process says. `uid`: root's only if every user id of the process is root's."""

    arguments: list[str]
    uid: int
    parent_pid: int


def ask(path: Path, pid: int, start_ticks: int) -> Answer | procfs.Unread:
    """Ask one process, or say why it can't be asked. `path`: where the host's proc file system is mounted."""
    return procfs.of_process(path, pid, start_ticks, _read)


def is_alive(path: Path, process: tuple[int, int]) -> bool:
    """Whether a process still runs. A hidden one does; one that only has to be waited for does not."""
    return procfs.of_process(path, *process, _state) not in (procfs.Unread.GONE, *_ENDED)


def _state(directory: Path) -> bytes:
    return (directory / "stat").read_bytes().rpartition(b")")[2].split()[0]


def _read(directory: Path) -> Answer:
    command_line = _beginning(directory / "cmdline", COMMAND_LINE_BYTES_MAX + 1)
    is_whole = len(command_line) <= COMMAND_LINE_BYTES_MAX
    status = (directory / "status").read_bytes()
    uids = [decimal(uid) for uid in _line(status, _UID).split()]
    # A user's process may have root's effective id (by the set-user-ID bit), and still be the user's.
    uid = next((uid for uid in uids if uid != _ROOT_UID), uids[0])
    arguments = arguments_of(command_line[:COMMAND_LINE_BYTES_MAX], is_whole=is_whole)
    return Answer(arguments, uid, decimal(_line(status, _PARENT).strip()))


def _line(status: bytes, name: bytes) -> bytes:
    """What follows a name in /proc/PID/status. Raises ValueError if there is no such line."""
    found = next((line for line in status.split(b"\n") if line.startswith(name)), None)
    if found is None:
        raise ValueError(f"/proc/PID/status: expected a line {name.decode()}, got none")
    return found[len(name) :]


def _beginning(path: Path, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        parts = []
        while size and (part := file.read(size)):
            parts.append(part)
            size -= len(part)
    return b"".join(parts)
