# SPDX-License-Identifier: Apache-2.0
"""Use between frames, by the row it is of: what tests of usage look at."""

from dataclasses import dataclass, field

from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.removed_cgroups import LOST_TIME
from services.calculator.state import State
from services.calculator.usage import CPU_TIME
from wattline.wire.codec import pack, unpack

LOST = (LOST_TIME, 0, 0)


def unlisted(cgroup_id):
    """What a cgroup used beyond its listed processes."""
    return (cgroup_id, 0, 0)


@dataclass
class Used:
    start_ns: int
    end_ns: int
    gap: str
    used_ns: dict


@dataclass
class Usage:
    """A calculator's state, of which only the first step is taken."""

    state: State = field(default_factory=lambda: State(1))

    @property
    def book(self):
        return self.state.usage

    @property
    def parents(self):
        return self.book.parents

    @property
    def own(self):
        """CPU time of cgroups, by id, sockets together."""
        return self._sum("own")

    @property
    def owed(self):
        return self._sum("owed")

    def _sum(self, figures):
        found = {}
        for (cgroup_id, _socket), amount in getattr(self.book.cgroups[CPU_TIME], figures).items():
            found[cgroup_id] = found.get(cgroup_id, 0) + amount
        return found

    def advance(self, activity, counter=CPU_TIME):
        """Use of one counter on all sockets; None for a frame that is not newer."""
        if self.state.acceptance.is_late(activity):
            return None
        located = self.state.rows.locate(activity, self.state.rows.find(activity), Names())
        self.state.acceptance.accept(activity)
        raw = self.book.advance(activity, located, self.state.rows.cgroup_id)
        keys = {account: key for key, account in self.state.rows.account_of.items()}
        used = {}
        for (name, _socket), column in raw.by_account.items():
            if name == counter:
                for account, amount in enumerate(column.tolist()):
                    if amount:
                        used[keys[account]] = used.get(keys[account], 0) + amount
        for (name, _socket), amounts in raw.unlisted.items():
            if name == counter:
                for cgroup_id, amount in amounts.items():
                    used[unlisted(cgroup_id)] = used.get(unlisted(cgroup_id), 0) + amount
        return Used(raw.start_ns, raw.end_ns, raw.gap, used)

    def from_ledger(self):
        """The same after a calculator was killed, and another one has read its ledger."""
        return Usage(from_document(unpack(pack(to_document(self.state, "n", "b")), LedgerDocument)))
