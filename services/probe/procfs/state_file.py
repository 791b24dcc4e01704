# SPDX-License-Identifier: Apache-2.0
"""The procfs backend's state on its two-slot file: save, recover."""

from pathlib import Path

from wattline.wire import shared
from wattline.wire.codec import pack, unpack
from wattline.wire.frames import Activity
from wattline.wire.packed import FrameError

from .state import STATE_SCHEMA, ProcfsState

NO_FORMER_COUNT = "no earlier count was left to continue"


def save(path: Path, state: ProcfsState) -> None:
    """Put it in the file; a kill at any moment leaves this or the one before.

    Raises OSError if there is no room.
    """
    writer = shared.SlotWriter(path)
    try:
        writer.write(pack(state))
    finally:
        writer.close()


def recover(
    path: Path, boot_id: str, root_id: int, previous: Activity | None
) -> tuple[ProcfsState | None, str]:
    """The state to go on from; or None and why there is none.

    It takes the last frame of its epoch as well: without that, what had ended by then would be missing, and
    totals of the epoch would fall.
    """
    try:
        state = unpack(shared.read(path), ProcfsState)
    except FileNotFoundError:
        return None, NO_FORMER_COUNT
    except (shared.Damaged, FrameError) as error:
        return None, str(error)
    last = (None, None) if previous is None else (previous.source, previous.epoch)
    for what, expected, got in (
        ("its schema", STATE_SCHEMA, state.state_schema),
        ("its boot", boot_id, state.boot_id),
        ("its cgroup2 root", root_id, state.root_id),
        ("the last frame", ("procfs", state.epoch), last),
    ):
        if expected != got:
            return None, f"{path}: {what} is {got!r}, expected {expected!r}"
    return state, ""
