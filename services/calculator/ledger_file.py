# SPDX-License-Identifier: Apache-2.0
"""The ledger on its two-slot file: commit, recover, set aside."""

from collections.abc import Callable
from pathlib import Path

from wattline.wire import shared
from wattline.wire.codec import pack, unpack
from wattline.wire.packed import FrameError

from .ledger_read import from_document
from .ledger_tables import LEDGER_SCHEMA, LedgerDocument, LedgerHeader
from .ledger_write import to_document
from .state import State

Say = Callable[[str], None]


class LedgerFile:
    """One calculator's ledger. The caller holds the service's lock."""

    def __init__(self, path: Path, node: str, boot_id: str) -> None:
        self._path = path
        self._node = node
        self._boot_id = boot_id
        self._writer: shared.SlotWriter | None = None

    def recover(self, say: Say) -> State | None:
        """The newest committed state; None if there is none to go on from.

        A torn slot falls back to the other. A ledger that was damaged later, or is whole but wrong (of
        another boot, node or version, or with books that don't close) is moved aside and told through `say`:
        never trusted, never fatal.
        """
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except (shared.Damaged, FrameError, ValueError, IndexError, OverflowError) as error:
            aside = self._path.with_name("ledger.refused")
            self._path.replace(aside)
            say(f"{error}; the ledger is moved to {aside}, all totals begin again at 0")
            return None

    def commit(self, state: State) -> None:
        """Make the state the one to recover. After this returns, it may be published."""
        if self._writer is None:
            self._writer = shared.SlotWriter(self._path)
        self._writer.write(pack(to_document(state, self._node, self._boot_id)))

    def close(self) -> None:
        """Unmap; the file stays."""
        if self._writer is not None:
            self._writer.close()

    def _read(self) -> State:
        payload = shared.read_committed(self._path)
        header = unpack(payload, LedgerHeader)
        for what, expected, got in (
            ("schema", LEDGER_SCHEMA, header.ledger_schema),
            ("node", self._node, header.node),
            ("boot", self._boot_id, header.boot_id),
        ):
            if expected != got:
                raise ValueError(f"its {what} is {got!r}, expected {expected!r}")
        return from_document(unpack(payload, LedgerDocument))
