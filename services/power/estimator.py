# SPDX-License-Identifier: Apache-2.0
"""Energy estimated from CPU time, for machines without a meter (most virtual ones)."""

from dataclasses import dataclass
from pathlib import Path

from wattline.errors import Fatal
from wattline.wire.frames import Activity, SourceState

from .power_model import PACKAGE, ZONES, Curve, PowerModel, decode
from .settings import PowerSettings
from .source import ESTIMATED, Former, Note, Readings, Source, Zone, ZoneEnergy

SOURCE = "trained_power_model"
INDEX = "estimator0"
MODEL = Path(__file__).with_name("models") / "nx12.json"

_NS_PER_S = 1_000_000_000
# Without activity for this many of its intervals (and this long) there is nothing to estimate from.
_STALE_INTERVALS = 3
_STALE_NS_MIN = _NS_PER_S
# More CPU time than CPUs × elapsed by up to this part is the skew between CPUs or the coarse clock of
# /proc, and counts as all CPUs busy; more than that is an impossible reading.
_OVERFULL_PERCENT_MAX = 10


def open_source(settings: PowerSettings, former: Former) -> Source | SourceState:  # noqa: ARG001 needs none
    """The estimator works anywhere."""
    try:
        model = decode(MODEL.read_bytes())
    except (OSError, ValueError) as error:
        raise Fatal(f"the power model {MODEL}: {error}; is Wattline installed whole?") from None
    return Estimator(model, former)


@dataclass(frozen=True)
class Usage:
    """The CPU time of all since the activity's epoch."""

    mono_ns: int
    busy_ns: int
    epoch: int
    cpus: int = 0
    interval_ns: int = 0

    @classmethod
    def of(cls, activity: Activity) -> "Usage":
        """Time that somebody used although the cgroup table was full drew its power all the same."""
        return cls(
            mono_ns=activity.mono_ns,
            busy_ns=sum(activity.cgroups.cpu_ns) + sum(activity.cpus.lost_ns),
            epoch=activity.epoch,
            cpus=len(activity.cpus),
            interval_ns=activity.interval_ns,
        )


@dataclass(frozen=True)
class Stretch:
    """Time in which `busy_ns` of `capacity_ns` (CPUs × elapsed) were used; `gap`: time before is lost."""

    busy_ns: int
    capacity_ns: int
    gap: bool = False


@dataclass(frozen=True)
class Impossible:
    """No such usage can follow the one before."""

    reason: str


def stretch(previous: Usage, current: Usage) -> Stretch | Impossible:
    """What was used between two usages, the later of them second.

    Edges: if the counters began again in between, the time before is a gap, and what has been counted since
    is taken as spread evenly, so that no time counts twice.
    """
    gap = current.epoch != previous.epoch
    counted_from_ns = current.epoch if gap else previous.mono_ns
    counted_ns = current.mono_ns - counted_from_ns
    elapsed_ns = current.mono_ns - max(previous.mono_ns, counted_from_ns)
    busy_ns = current.busy_ns - (0 if gap else previous.busy_ns)
    if counted_ns <= 0 or not current.cpus:
        return Impossible("no CPU has been counted for any time: expected at least one")
    if busy_ns < 0:
        return Impossible("CPU time fell although its epoch is the same: expected it cumulative")
    if busy_ns * 100 > counted_ns * current.cpus * (100 + _OVERFULL_PERCENT_MAX):
        return Impossible("more CPU time than CPUs × elapsed time: expected at most all CPUs busy")
    if gap:
        busy_ns = busy_ns * elapsed_ns // counted_ns
    capacity_ns = elapsed_ns * current.cpus
    return Stretch(min(busy_ns, capacity_ns), capacity_ns, gap)


@dataclass
class Account:
    """One zone's energy. `parts` is what is above a whole µJ, in the curve's parts."""

    zone: Zone
    curve: Curve
    error_ratio_ppm: int
    energy_uj: int = 0
    gaps: int = 0
    parts: int = 0

    def add(self, stretch: Stretch) -> None:
        """Add the energy of a stretch."""
        parts = self.parts + self.curve.energy_parts(stretch.busy_ns, stretch.capacity_ns)
        whole_uj, self.parts = divmod(parts, self.curve.parts_per_uj)
        self.energy_uj += whole_uj
        self.gaps += stretch.gap


class Estimator:
    """The zones of one model, from the activity's CPU time."""

    follows_activity = True

    def __init__(self, model: PowerModel, former: Former) -> None:
        self._accounts = [
            Account(
                zone=Zone(name, INDEX, SOURCE, ESTIMATED, model.model),
                curve=Curve(model.zones[name].knots, model.machine.cpu_count),
                error_ratio_ppm=model.error_ratio_ppm(name),
            )
            for name in ZONES
        ]
        self.zones = [account.zone for account in self._accounts]
        self.notes = [Note("no_meter", _description(model))]
        self.resumed = former.resumable(self.zones)
        self._usage: Usage | None = None
        self._interval_ns = 0
        self._impossible = ""
        self._unsaid: list[Note] = []
        if self.resumed:
            self._resume(former)

    def on_activity(self, activity: Activity) -> None:
        """Add what the node did since the last activity."""
        usage, previous = Usage.of(activity), self._usage
        self._interval_ns = usage.interval_ns
        if previous is not None:
            if usage.mono_ns <= previous.mono_ns:
                return  # accounted for already, by this run or the one before
            between = stretch(previous, usage)
            if isinstance(between, Impossible):
                self._impossible = between.reason
                figures = {"busy_ns": usage.busy_ns, "last_busy_ns": previous.busy_ns, "cpus": usage.cpus}
                self._unsaid.append(Note("refused", between.reason, figures))
                return
            if between.gap:
                self._unsaid.append(
                    Note("gap", "the activity's counters began again: what ran before is lost")
                )
            for account in self._accounts:
                account.add(between)
        self._usage = usage
        self._impossible = ""

    def read(self, now_ns: int) -> Readings:
        """Each zone up to the last activity; nothing if that is missing or old."""
        notes, self._unsaid = self._unsaid, []
        reason = self._impossible or self._staleness(now_ns)
        if self._usage is None or reason:
            return Readings([], SourceState(name=SOURCE, up=False, reason=reason), notes)
        rows = [_row(account, self._usage) for account in self._accounts]
        return Readings(rows, SourceState(name=SOURCE, up=True), notes)

    def close(self) -> None:
        """Nothing is open."""

    def _resume(self, former: Former) -> None:
        for account in self._accounts:
            row = former.rows[account.zone]
            account.energy_uj, account.gaps = row.energy_uj, row.gaps
        row = former.rows[self.zones[ZONES.index(PACKAGE)]]
        self._usage = Usage(mono_ns=row.mono_ns, busy_ns=row.raw, epoch=row.raw_epoch)

    def _staleness(self, now_ns: int) -> str:
        if self._usage is None or not self._interval_ns:
            return "no activity yet to estimate from: is the probe running?"
        age_ns = now_ns - self._usage.mono_ns
        if age_ns <= max(_STALE_INTERVALS * self._interval_ns, _STALE_NS_MIN):
            return ""
        return (
            f"the last activity is {age_ns / _NS_PER_S:.1f} s old, expected one each "
            f"{self._interval_ns / _NS_PER_S:g} s: is the probe running?"
        )


def _row(account: Account, usage: Usage) -> ZoneEnergy:
    return ZoneEnergy(
        zone=account.zone,
        mono_ns=usage.mono_ns,
        energy_uj=account.energy_uj,
        raw=usage.busy_ns,
        raw_epoch=usage.epoch,
        gaps=account.gaps,
        error_ratio_ppm=account.error_ratio_ppm,
    )


def _description(model: PowerModel) -> str:
    errors = ", ".join(
        f"{name} ±{model.zones[name].held_out.mean_absolute_ratio:.0%}"
        for name in ZONES
        if name in model.zones
    )
    return (
        f"no meter found: energy is estimated from CPU time by model {model.model}, a machine of "
        f"{model.machine.cpu_count} CPUs scaled to this one's; its mean error there: {errors}"
    )
