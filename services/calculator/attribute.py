# SPDX-License-Identifier: Apache-2.0
"""One zone's energy of one window, given to those who used the CPU. Pure.

Formulas 4 to 6 in docs/attribution.md.
"""

from .apportion import apportion
from .books import Books, Nobody
from .timeline import Window

NO_USE, IDLE_POLICY, LOST_ROWS, POWER_GAP = "no_activity", "idle_policy", "table_full", "power_gap"


def attribute_dynamic(books: Books, zone: int, energy_uj: int, window: Window) -> None:
    """By CPU time (formula 5), in canonical order."""
    if not window.used_ns:
        books.leave_unattributed(zone, "dynamic", NO_USE, energy_uj)
        return
    targets = sorted(window.used_ns, key=lambda target: target.order)
    shares = apportion(energy_uj, [window.used_ns[target] for target in targets])
    for target, share_uj in zip(targets, shares, strict=True):
        if isinstance(target, Nobody):
            books.leave_unattributed(zone, "dynamic", LOST_ROWS, share_uj)
        else:
            target.charge(zone, share_uj, 0)


def attribute_idle(books: Books, zone: int, energy_uj: int, policy: str) -> None:
    """By policy: to nobody (`node`), or to every container and within it to every process alike (`even`).

    Formula 6.
    """
    populated = books.populated() if policy == "even" else []
    if not populated:
        books.leave_unattributed(zone, "idle", IDLE_POLICY, energy_uj)
        return
    shares = apportion(energy_uj, [1] * len(populated))
    for (_container, rows), share_uj in zip(populated, shares, strict=True):
        for row, row_share_uj in zip(rows, apportion(share_uj, [1] * len(rows)), strict=True):
            row.charge(zone, 0, row_share_uj)
