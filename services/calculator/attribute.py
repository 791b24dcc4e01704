# SPDX-License-Identifier: Apache-2.0
"""One zone's energy of one window, given to those who used it. Pure.

Formulas 5 and 7 in docs/attribution.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .accounts import Accounts
from .apportion import apportion
from .columns import Ints
from .rules import NODE, REQUESTS, USAGE
from .share import Share
from .timeline import Window

NO_USE, IDLE_POLICY, POWER_GAP = "no_activity", "idle_policy", "power_gap"
NO_REQUESTS = "no_requests"


@dataclass(frozen=True)
class Members:
    """The listed rows by workload, in canonical order: whom idle energy may go to.

    `counts` are the rows of each workload; `accounts` are the rows of the first, then of the second, …
    `parts` and `cpu_request_m` are by container: how many workloads it is, and what CPU it requests, 0 also
    where that is unknown.
    """

    accounts: Ints
    counts: Ints
    parts: Ints
    cpu_request_m: Ints


MembersNow = Callable[[], Members]


@dataclass(frozen=True)
class Giving:
    """Giving away one zone's energy of one window. `zone`: its number in the accounts."""

    accounts: Accounts
    zone: int
    window: Window
    share: Share

    def dynamic(self, energy_uj: int) -> None:
        """By use."""
        self._by_use("dynamic", energy_uj, NO_USE)

    def idle(self, energy_uj: int, policy: str, members: MembersNow) -> None:
        """By policy: left with the node, evenly by workload, by use, or by CPU requests."""
        if policy == USAGE:
            self._by_use("idle", energy_uj, IDLE_POLICY)
        elif policy == NODE:
            self.accounts.leave_unattributed(self.zone, "idle", IDLE_POLICY, energy_uj)
        else:
            self._by_members(energy_uj, policy, members())

    def _by_members(self, energy_uj: int, policy: str, present: Members) -> None:
        weights = present.cpu_request_m if policy == REQUESTS else np.ones(len(present.counts), np.int64)
        if not weights.any():
            reason = NO_REQUESTS if policy == REQUESTS else IDLE_POLICY
            self.accounts.leave_unattributed(self.zone, "idle", reason, energy_uj)
            return
        shares_uj = apportion(energy_uj, weights)
        if policy == REQUESTS:
            shares_uj = _alike(shares_uj, present.parts)
        self.accounts.charge(self.zone, "idle", present.accounts, _alike(shares_uj, present.counts))

    def _by_use(self, mode: str, energy_uj: int, reason: str) -> None:
        if self.share.weights is None:
            self.accounts.leave_unattributed(self.zone, mode, reason, energy_uj)
        else:
            shares_uj = apportion(energy_uj, self.share.weights)
            self.accounts.charge(self.zone, mode, self.window.accounts, shares_uj)


def _alike(shares_uj: Ints, counts: Ints) -> Ints:
    """Shares split evenly: the first among `counts[0]`, and so on, by cumulative rounding."""
    each_uj, rest_uj = np.divmod(shares_uj, counts)
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    count, rest_uj = np.repeat(counts, counts), np.repeat(rest_uj, counts)
    shares: Ints = np.repeat(each_uj, counts) + rest_uj * (place + 1) // count - rest_uj * place // count
    return shares
