# SPDX-License-Identifier: Apache-2.0
"""Who has been given how much: one account per process row, workload, and one for nobody, as columns. Pure.

Energy is apportioned once, at the finest account; every upper level is a sum. An account that is closed hands
its totals to another one, and what still arrives for it follows: no sum ever falls.
"""

from collections.abc import Iterable

import numpy as np

from .columns import Ints, grown

# The account of time whose user could not be recorded: what it is given is unattributed.
NOBODY = 0
LOST_ROWS = "table_full"
_CAPACITY_MIN = 64
# Totals in either mode, of all zones and accounts: half a gigabyte.
_CELLS_MAX = 2**26
_CLOSED_MAX = 256  # so many closed accounts may wait for windows before it is looked which still need them


class Accounts:
    """Totals by account number. `dynamic_uj` and `idle_uj` are [zone, account], in µJ."""

    def __init__(self) -> None:
        self.capacity = _CAPACITY_MIN
        self.zone_count = 0
        self.cpu_ns: Ints = np.zeros(_CAPACITY_MIN, np.int64)
        self.dynamic_uj: Ints = np.zeros((0, _CAPACITY_MIN), np.int64)
        self.idle_uj: Ints = np.zeros((0, _CAPACITY_MIN), np.int64)
        # Where charges to an account go: itself, or the one it was handed to.
        self.forward: Ints = np.arange(_CAPACITY_MIN)
        self.unattributed_uj: dict[tuple[int, str, str], int] = {}  # by (zone, mode, reason)
        self._used = 1  # NOBODY
        self._free: list[int] = []
        self._closed: list[int] = []

    def has_room(self, *, zones: int = 0, accounts: int = 0) -> bool:
        """Return True if the books can hold so many zones, or so many accounts."""
        capacity = max(self.capacity, 2 * accounts)
        return max(1, zones, self.zone_count) * capacity <= _CELLS_MAX

    def add_zone(self) -> int:
        """A column for one more zone everywhere; its number."""
        empty = np.zeros((1, self.capacity), np.int64)
        self.dynamic_uj = np.concatenate((self.dynamic_uj, empty))
        self.idle_uj = np.concatenate((self.idle_uj, empty))
        self.zone_count += 1
        return self.zone_count - 1

    def open(self) -> int:
        """A new account, at 0."""
        if self._free:
            return self._free.pop()
        if self._used == self.capacity:
            self._grow(2 * self.capacity)
        self._used += 1
        return self._used - 1

    def close(self, accounts: Ints, heirs: Ints) -> None:
        """Hand the totals of some accounts over, each to its heir, and let later charges follow."""
        np.add.at(self.cpu_ns, heirs, self.cpu_ns[accounts])
        self.cpu_ns[accounts] = 0
        for totals in (*self.dynamic_uj, *self.idle_uj):
            np.add.at(totals, heirs, totals[accounts])
            totals[accounts] = 0
        self.forward[accounts] = heirs
        self._closed.extend(accounts.tolist())

    def close_onto(self, account: int, heir: int) -> None:
        """Hand one account over, with all that were handed to it before."""
        self.close(np.array([account]), np.array([heir]))
        self.forward[self.forward == account] = heir

    def hand_over_totals(self, account: int, heir: int) -> None:
        """Move an account's totals but leave it open: what arrives from now on is its own."""
        self.cpu_ns[heir] += self.cpu_ns[account]
        self.cpu_ns[account] = 0
        for totals in (self.dynamic_uj, self.idle_uj):
            totals[:, heir] += totals[:, account]
            totals[:, account] = 0

    def reuse_closed(self, pending: Iterable[Ints]) -> None:
        """Make closed accounts available again that no pending window charges any more."""
        windows = list(pending)
        if not self._closed or (windows and len(self._closed) < _CLOSED_MAX):
            return
        needed = set(np.concatenate(windows).tolist()) if windows else set()
        free = [account for account in self._closed if account not in needed]
        self._closed = [account for account in self._closed if account in needed]
        self.forward[free] = free
        self._free.extend(free)

    def charge_cpu(self, accounts: Ints, cpu_ns: Ints) -> None:
        """Book CPU time. Nobody's is not kept: the probe publishes it as lost."""
        np.add.at(self.cpu_ns, self.forward[accounts], cpu_ns)
        self.cpu_ns[NOBODY] = 0

    def charge(self, zone: int, mode: str, accounts: Ints, energy_uj: Ints) -> None:
        """Book energy of a mode, "dynamic" or "idle"."""
        totals = (self.idle_uj if mode == "idle" else self.dynamic_uj)[zone]
        np.add.at(totals, self.forward[accounts], energy_uj)
        self.leave_unattributed(zone, mode, LOST_ROWS, int(totals[NOBODY]))
        totals[NOBODY] = 0

    def leave_unattributed(self, zone: int, mode: str, reason: str, energy_uj: int) -> None:
        """Book energy that no workload is given, with the reason."""
        if energy_uj:
            entry = (zone, mode, reason)
            self.unattributed_uj[entry] = self.unattributed_uj.get(entry, 0) + energy_uj

    def _grow(self, capacity: int) -> None:
        self.cpu_ns = grown(self.cpu_ns, capacity)
        self.dynamic_uj = grown(self.dynamic_uj, capacity)
        self.idle_uj = grown(self.idle_uj, capacity)
        self.forward = np.concatenate((self.forward, np.arange(self.capacity, capacity)))
        self.capacity = capacity
