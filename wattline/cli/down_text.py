# SPDX-License-Identifier: Apache-2.0
"""The outcome of `wattline down`, in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_UP = "up"


@dataclass
class Outcome:
    """All that was stopped, removed, unloaded, left or not seen."""

    run: Path
    removed: list[str] = field(default_factory=list)  # service directories
    is_run_removed: bool = False
    left: list[str] = field(default_factory=list)  # names in the run directory that are not Wattline's
    unloaded: Path | None = None
    copies: int = 0  # of the code, that were removed
    unseen: str = ""  # what could not be looked at for lack of rights
    _stopped: dict[str, int | None] = field(default_factory=dict)  # process id by name, where known

    def stopped(self, name: str, pid: int, along: Sequence[str] = ()) -> None:
        """Note a process that ended, and the services that ended along with it."""
        self._stopped |= {name: pid} | dict.fromkeys(along)

    @property
    def is_blind(self) -> bool:
        """True if nothing was found, but not everything could be looked at."""
        is_idle = not (self._stopped or self.removed or self.is_run_removed or self.unloaded)
        return bool(self.unseen) and is_idle

    def text(self, hint: str = "") -> str:
        """One line. `hint`: where Wattline runs instead."""
        removed = self._removed()
        if self._stopped:
            parts = [f"stopped {self._who()}"]
            parts += [f"removed {removed}"] if removed else []
            parts += [f"unloaded the eBPF program from {self.unloaded}"] if self.unloaded else []
        else:
            left_over = [removed] if removed else []
            left_over += [f"the eBPF program in {self.unloaded}"] if self.unloaded else []
            parts = [f"nothing was running in {self.run}"]
            nothing = ["nothing was left to remove"]
            parts += [f"removed what was left: {', '.join(left_over)}"] if left_over else nothing
            parts += [hint] if hint else []
        if self.copies:
            parts.append(f"removed {self.copies} cop{'ies' if self.copies > 1 else 'y'} of the code")
        if self.left:
            parts.append(f"left in {self.run} what is not Wattline's: {', '.join(self.left)}")
        return "; ".join(parts)

    def _who(self) -> str:
        services = [name for name in self._stopped if name != _UP]
        up = [f"up (pid {self._stopped[_UP]})"] if _UP in self._stopped else []
        if not services:
            return up[0]
        if up:
            return f"{up[0]} and {len(services)} service{'s' if len(services) > 1 else ''}"
        return ", ".join(f"{name} (pid {self._stopped[name]})" for name in services)

    def _removed(self) -> str:
        if self.is_run_removed:
            return str(self.run)
        return ", ".join(str(self.run / service) for service in self.removed)
