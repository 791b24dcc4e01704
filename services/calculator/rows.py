# SPDX-License-Identifier: Apache-2.0
"""The processes that the probe lists, and the account of each. Pure.

A row is a process in a cgroup: (cgroup id, pid, start in clock ticks), the finest there is.
"""

from itertools import repeat
from typing import NamedTuple

import numpy as np

from wattline.wire.frames import PROCESS_KERNEL_THREAD, Activity

from .accounts import Accounts
from .columns import Ints, grown
from .names import Names
from .workloads import Workload, Workloads

Key = tuple[int, int, int]
NEW = -1


class Found(NamedTuple):
    """A frame's rows: their keys, and the account of each, NEW for one that has none yet."""

    keys: list[Key]
    accounts: Ints


class Rows:
    """What rows are listed. The columns are by account number; those of other accounts mean nothing."""

    def __init__(self, accounts: Accounts, workloads: Workloads) -> None:
        self.account_of: dict[Key, int] = {}
        self.cgroup_id: Ints = np.zeros(accounts.capacity, np.int64)
        self.pid: Ints = np.zeros(accounts.capacity, np.int64)
        self.start_ticks: Ints = np.zeros(accounts.capacity, np.int64)
        self.workload: Ints = np.zeros(accounts.capacity, np.int64)  # its number
        self.is_listed: Ints = np.zeros(accounts.capacity, np.int64)  # 1 if the account is a row's
        self.comm = np.full(accounts.capacity, "", object)
        self._accounts = accounts
        self._workloads = workloads
        self._names_version = -1

    def find(self, activity: Activity) -> Found:
        """The rows of a frame that have an account already. Changes nothing."""
        table = activity.processes
        keys = list(zip(table.cgroup_id, table.pid, table.start_ticks, strict=True))
        return Found(keys, np.fromiter(map(self.account_of.get, keys, repeat(NEW)), np.int64, len(keys)))

    def locate(self, activity: Activity, found: Found, names: Names) -> Ints:
        """Return the account of each row, opened if the row is new, and moved if its owner has changed.

        Accounts of rows that are not listed any more are closed onto their workload's.
        """
        table, keys, located = activity.processes, found.keys, found.accounts
        for row in np.flatnonzero(located == NEW).tolist():
            # Two processes with one pid and one start can't be told apart: they share an account.
            known = self.account_of.get(keys[row])
            owner = self._owner(keys[row], table.flags[row], names, activity.mono_ns)
            located[row] = self.open(keys[row], owner) if known is None else known
        # Before any metadata has come, what is known from the ledger is better than nothing.
        if names.version not in (0, self._names_version):
            self._rename(dict(zip(keys, table.flags, strict=True)), names, activity.mono_ns)
            self._names_version = names.version
        self.widen()
        self.comm[located] = table.comm
        self._leave(located)
        return located

    def open(self, key: Key, workload: Workload) -> int:
        """An account for a row."""
        account = self._accounts.open()
        self.widen()
        self.account_of[key] = account
        self.cgroup_id[account], self.pid[account], self.start_ticks[account] = key
        self.workload[account] = workload.number
        self.is_listed[account] = 1
        return account

    def widen(self) -> None:
        """Make room for as many accounts as there are."""
        more = self._accounts.capacity - len(self.workload)
        if more > 0:
            for name in ("cgroup_id", "pid", "start_ticks", "workload", "is_listed"):
                setattr(self, name, grown(getattr(self, name), self._accounts.capacity))
            self.comm = np.concatenate((self.comm, np.full(more, "", object)))

    def accounts(self) -> Ints:
        """The accounts of all rows, by number."""
        return np.flatnonzero(self.is_listed)

    def of_processes(self) -> dict[tuple[int, int], int]:
        """An account of each (pid, start): of one that has moved, the row of the youngest cgroup."""
        # The kernel numbers cgroups in the order in which they are made.
        return {key[1:]: account for key, account in sorted(self.account_of.items())}

    def _owner(self, key: Key, flags: int, names: Names, now_ns: int) -> Workload:
        owner = names.owner(*key, is_kernel=bool(flags & PROCESS_KERNEL_THREAD))
        return self._workloads.workload(owner, now_ns)

    def _rename(self, flags: dict[Key, int], names: Names, now_ns: int) -> None:
        """Metadata has changed its mind about some: what they have been given so far stays where it was.

        Energy of windows that some meter has yet to cover goes to the new owner: it always was theirs.
        """
        for key, flag in flags.items():
            account = self.account_of[key]
            workload = self._owner(key, flag, names, now_ns)
            if workload.number != self.workload[account]:
                former = self._workloads.get(int(self.workload[account]))
                self._accounts.hand_over_totals(account, former.account)
                self.workload[account] = workload.number

    def _leave(self, located: Ints) -> None:
        """Close the accounts of all rows but those that were located."""
        self.is_listed[located] += 1
        left = np.flatnonzero(self.is_listed == 1)
        self.is_listed[:] = self.is_listed > 1
        for key in zip(
            self.cgroup_id[left].tolist(),
            self.pid[left].tolist(),
            self.start_ticks[left].tolist(),
            strict=True,
        ):
            del self.account_of[key]
        self.comm[left] = ""
        self._accounts.close(left, self._workloads.accounts()[self.workload[left]])
