# SPDX-License-Identifier: Apache-2.0
"""The simulated machine's meter: its zones, fed with what really ran."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wattline.cpu_list import cpu_list

from .busy import Account, AwakeAccount, TaskAccount
from .law import Moment
from .sockets import given, split
from .updates import Updates
from .zones import Zone, update_ns, zones_of

_SETTINGS = frozenset(
    {
        *("sockets", "cpus", "psys", "busy", "busy_cpus", "noise_w", "seed", "update_ms", "zones"),
        *("hidden", "mirrors"),
    }
)
_ACCOUNTS: Mapping[str, Callable[[], Account]] = {"tasks": TaskAccount, "awake": AwakeAccount}


class Meter:
    """Serves counters, and tells the truth about them. Begins when it is made."""

    def __init__(self, config: Mapping[str, Any], cpu_directory: Path) -> None:
        """Raises ValueError for what a configuration must not say. `cpu_directory`: of the real CPUs."""
        if unknown := set(config) - _SETTINGS:
            raise ValueError(f"expected {sorted(_SETTINGS)}, got {sorted(unknown)}")
        online, possible = (
            cpu_list((cpu_directory / name).read_text(encoding="ascii")) for name in ("online", "possible")
        )
        count = config.get("sockets", 1)
        listed = config.get("cpus")
        self.sockets = split(count, online, possible) if listed is None else given(listed, count, possible)
        self.zones: dict[str, Zone] = zones_of(config, self.sockets)
        for name in config.get("hidden", ()):
            self.hide(name, is_hidden=True)
        self._updates = Updates(update_ns(config))
        self._constant_cpus: float | None = config.get("busy_cpus")
        self._cpu_count = len(online)
        self._online = sorted(online)
        account = config.get("busy", "tasks")
        if account not in _ACCOUNTS:
            raise ValueError(f"busy: expected one of {sorted(_ACCOUNTS)}, got {account!r}")
        self._account = _ACCOUNTS[account]()
        self._start_ns = time.monotonic_ns()
        self._frozen: Moment | None = None

    def serve(self, zone: Zone) -> int:
        """A zone's raw counter, as it stands now."""
        return zone.serve(self._updates.shown(self.now()))

    def hide(self, zone: str, *, is_hidden: bool) -> None:
        """Let a zone and those within it be there or not. Raises KeyError for one that isn't known."""
        self.zones[zone].is_hidden = is_hidden
        for name, one in self.zones.items():
            if name.startswith(f"{zone}/"):
                one.is_hidden = is_hidden

    def freeze(self) -> None:
        """From now on no energy flows."""
        self._frozen = self.now()

    def now(self) -> Moment:
        """This moment, or the one at which all was frozen."""
        if self._frozen:
            return self._frozen
        elapsed_ns = time.monotonic_ns() - self._start_ns
        if self._constant_cpus is None:
            return Moment(elapsed_ns, self._account.busy_ns())
        total_ns = round(elapsed_ns * self._constant_cpus)
        # By cumulative rounding: the CPUs' times sum to the total.
        bounds = [total_ns * number // self._cpu_count for number in range(self._cpu_count + 1)]
        return Moment(elapsed_ns, {cpu: bounds[n + 1] - bounds[n] for n, cpu in enumerate(self._online)})

    def log(self) -> dict[str, Any]:
        """What was served, and what truly is: energy and busy time since the start, whoever looked."""
        moment = self.now()
        zones = {
            name: zone.log() | {"true_uj": zone.law.energy_uj(moment), "busy_ns": zone.law.busy_ns(moment)}
            for name, zone in self.zones.items()
        }
        return {
            "frozen": self._frozen is not None,
            "busy_source": self._account.source if self._constant_cpus is None else "constant",
            "elapsed_ns": moment.elapsed_ns,
            "busy_ns": {str(cpu): ns for cpu, ns in sorted(moment.busy_ns.items())},
            "sockets": [sorted(cpus) for cpus in self.sockets],
            "zones": zones,
        }
