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
from .rules import EVEN, NODE, REQUESTS, USAGE
from .share import Share
from .timeline import Window

NO_USE, IDLE_POLICY, POWER_GAP = "no_activity", "idle_policy", "power_gap"


@dataclass(frozen=True)
class Members:
    """The listed rows by workload, in canonical order: whom idle energy may go to.

    `counts` and `cpu_request_m` are by workload; `accounts` are the rows of the first, then of the second, …
    """

    accounts: Ints
    counts: Ints
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
        """By policy: to nobody, to every workload alike, by use, or by what each was promised."""
        if policy == USAGE:
            self._by_use("idle", energy_uj, IDLE_POLICY)
            return
        present = None if policy == NODE else members()
        weights = None if present is None else _idle_weights(policy, present)
        if present is None or weights is None or not weights.any():
            self.accounts.leave_unattributed(self.zone, "idle", IDLE_POLICY, energy_uj)
        else:
            shares_uj = _alike(apportion(energy_uj, weights), present.counts)
            self.accounts.charge(self.zone, "idle", present.accounts, shares_uj)

    def _by_use(self, mode: str, energy_uj: int, reason: str) -> None:
        if self.share.weights is None:
            self.accounts.leave_unattributed(self.zone, mode, reason, energy_uj)
        else:
            shares_uj = apportion(energy_uj, self.share.weights)
            self.accounts.charge(self.zone, mode, self.window.accounts, shares_uj)


def _idle_weights(policy: str, members: Members) -> Ints:
    """By workload."""
    if policy == EVEN:
        return np.ones(len(members.counts), np.int64)
    assert policy == REQUESTS
    return members.cpu_request_m


def _alike(shares_uj: Ints, counts: Ints) -> Ints:
    """Each workload's share, split alike among its rows by cumulative rounding."""
    each_uj, rest_uj = np.divmod(shares_uj, counts)
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    count, rest_uj = np.repeat(counts, counts), np.repeat(rest_uj, counts)
    shares: Ints = np.repeat(each_uj, counts) + rest_uj * (place + 1) // count - rest_uj * place // count
    return shares
