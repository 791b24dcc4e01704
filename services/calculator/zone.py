# SPDX-License-Identifier: Apache-2.0
"""One zone of one source: its meter, its totals, and what was learned of it. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.second_look import SecondLook
from wattline.wire.frames import WHOLE_MACHINE
from wattline.zone_power import NODE_POWER_MAX_W

from .accounts import Accounts
from .idle import FIXED, OBSERVED_MIN, Estimate, IdlePower
from .meter import Judgement, Meter, Point
from .model import PowerModel
from .partition import WHOLE, ZoneName
from .rules import Rules

_UW_PER_UJ_NS = 1_000_000_000  # µW × ns = 10⁻⁹ µJ
MEASURED = "measured"


class Reading(NamedTuple):
    """A zone's cumulative energy in an epoch of its publisher."""

    epoch: int
    mono_ns: int
    energy_uj: int


def covers_whole_machine(name: ZoneName, *, is_measured: bool) -> bool:
    """True if a source's zones of this name, whatever their index, are the whole machine."""
    return name[0] == WHOLE or name[1] == WHOLE_MACHINE or not is_measured


@dataclass
class Reported:
    """A cumulative figure of a publisher, as far as it belongs to a series.

    `before`: of earlier epochs and stretches; `now`: of the present one; `base`: the figure at its beginning.
    """

    before: int = 0
    now: int = 0
    base: int = 0

    def take(self, figure: int) -> None:
        """Take the publisher's newest figure."""
        self.now = max(self.now, figure - self.base)

    def begin(self, base: int = 0) -> None:
        """Begin another stretch, in which the figure begins at `base`."""
        self.before, self.now, self.base = self.total, 0, base

    @property
    def total(self) -> int:
        """The figure of the whole series."""
        return self.before + self.now


@dataclass
class Zone:
    """One zone of one source. measured = idle + dynamic, in µJ, up to the meter's watermark."""

    name: ZoneName
    number: int  # its column in the books
    meter: Meter
    provenance: str = ""
    model: str = ""
    error_ratio_ppm: int = 0
    gaps: Reported = field(default_factory=Reported)
    measured_uj: int = 0
    idle_uj: int = 0
    idle_remainder: int = 0  # µW·ns short of a whole µJ
    idle_seen: IdlePower = field(default_factory=IdlePower)
    power_model: PowerModel = field(default_factory=PowerModel)
    share_by: str = ""
    unlearned: list[Point] = field(default_factory=list)  # readings that idle power is to be learned from
    # When a frame last listed it, other than as absent with its last row; on the clock of slots.py.
    seen_ns: int = 0
    missed: int = 0  # power frames of its stream since, which don't
    reading_interval_ns: int = 0  # between its two newest readings
    power_max_uw: int = NODE_POWER_MAX_W * 1_000_000
    rejected: SecondLook[Reading] = field(default_factory=SecondLook)
    stream: str = ""  # whose readings it counts; empty: not known, in a ledger of before there were several
    takeovers: int = 0  # how often it took its slot over from another series
    integration: Reported = field(default_factory=Reported)  # µJ by which its energy may be off

    def follows(self, earlier: Reading, later: Reading) -> bool:
        """Return True if two readings agree, the later of them second."""
        return agree(earlier, later, self.power_max_uw)

    @property
    def is_measured(self) -> bool:
        """True if a sensor measured it."""
        return self.provenance == MEASURED

    @property
    def is_whole(self) -> bool:
        """True if its source's zones of this name, whatever their index, are the whole machine."""
        return covers_whole_machine(self.name, is_measured=self.is_measured)

    def idle(self, rules: Rules) -> Estimate:
        """Its idle power, by the rule in force."""
        fixed_uw = rules.fixed_uw(self.name[0], self.name[1])
        if fixed_uw is not None:
            return Estimate(fixed_uw, 0, FIXED)
        return self.idle_seen.observed_min() if rules.idle_power == OBSERVED_MIN else self.idle_seen.learned()

    def split(self, energy_uj: int, time_ns: int, idle_power_uw: int) -> tuple[int, int]:
        """(idle, dynamic) of some energy (formula 4): idle power times time, never more than there was."""
        exact = idle_power_uw * time_ns + self.idle_remainder
        idle_uj = exact // _UW_PER_UJ_NS
        if idle_uj > energy_uj:
            idle_uj, exact = energy_uj, 0
        self.idle_remainder = exact % _UW_PER_UJ_NS
        self.measured_uj += energy_uj
        self.idle_uj += idle_uj
        return idle_uj, energy_uj - idle_uj

    def book_unwatched(self, until_ns: int, reason: str, accounts: Accounts, rules: Rules) -> None:
        """Book the energy up to a time as nobody's, whose use is not known: later users don't get it."""
        time_ns = until_ns - self.meter.watermark_ns
        idle_uj, dynamic_uj = self.split(self.meter.take_until(until_ns), time_ns, self.idle(rules).power_uw)
        accounts.leave_unattributed(self.number, "idle", reason, idle_uj)
        accounts.leave_unattributed(self.number, "dynamic", reason, dynamic_uj)


def gpu_of(name: ZoneName) -> str | None:
    """The GPU whose timeline a zone goes by; None: it goes by the CPUs'."""
    return name[1] if name[0] == "gpu" else None


def agree(earlier: Reading, later: Reading, power_max_uw: int) -> bool:
    """Return True if the second of two readings can follow the first."""
    meter = Meter(earlier.epoch, earlier.mono_ns, earlier.energy_uj)
    return earlier.epoch == later.epoch and meter.judge(*later, power_max_uw) is Judgement.NEWER
