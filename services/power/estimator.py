# SPDX-License-Identifier: Apache-2.0
"""Energy estimated from CPU time, for machines without a meter (most virtual ones)."""

from dataclasses import dataclass
from pathlib import Path

from wattline.errors import Fatal
from wattline.node_use import Impossible, NodeUse, Stretch, follows, stretch
from wattline.second_look import SecondLook
from wattline.wire.frames import Activity, SourceState

from .power_model import PACKAGE, ZONES, Curve, PowerModel, decode
from .settings import PowerSettings
from .source import ESTIMATED, Former, Level, Note, Readings, Source, Zone, ZoneEnergy, utc

SOURCE = "trained_power_model"
INDEX = "estimator0"
MODEL = Path(__file__).with_name("models") / "nx12.json"

_NO_METER = "no power meter: estimated from CPU time, tens of percent off; see docs/estimate.md"
_CONTRADICTED = (
    "several activity frames in a row contradict an earlier one, which may be wrong: energy since then "
    "is not counted"
)
_NS_PER_S = 1_000_000_000
# Without activity for this many of its intervals (and this long) there is nothing to estimate from.
_STALE_INTERVALS = 3
_STALE_NS_MIN = _NS_PER_S


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:  # noqa: ARG001 needs neither
    """The estimator works anywhere."""
    try:
        model = decode(MODEL.read_bytes())
    except (OSError, ValueError) as error:
        raise Fatal(
            f"the power model {MODEL}: {error}; expected the file that comes with Wattline, install it again"
        ) from None
    return Estimator(model, former)


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
        # If only one has no row, all begin again: they hold up to the same activity.
        self.resumed = all(zone in former.rows for zone in self.zones)
        self._epoch = 0  # 0: nothing counted yet
        # Other series have the energy up to here.
        self._begin_ns = 0 if self.resumed else former.until_ns
        self._usage: NodeUse | None = None
        self._interval_ns = 0
        self._impossible = ""
        self._rejected = SecondLook[NodeUse]()
        self._unsaid = [Note("no_meter", _NO_METER, level=Level.WARNING)]
        if self.resumed:
            self._resume(former)

    def on_activity(self, activity: Activity) -> None:
        """Add what the node did since the last activity."""
        usage, previous = NodeUse.of(activity), self._usage
        self._interval_ns = usage.interval_ns
        if usage.mono_ns < self._begin_ns:
            return
        if previous is not None:
            if usage.mono_ns <= previous.mono_ns:
                return  # accounted for already, by this run or the one before
            between = stretch(previous, usage)
            if isinstance(between, Impossible):
                self._reject(usage, previous, between)
                return
            if between.gap:
                self._unsaid.append(_new_count(activity, previous))
            for account in self._accounts:
                account.add(between)
        self._accept(usage)

    def _accept(self, usage: NodeUse) -> None:
        self._usage = usage
        self._epoch = self._epoch or usage.mono_ns
        self._impossible = ""
        self._rejected.clear()

    def _reject(self, usage: NodeUse, previous: NodeUse, impossible: Impossible) -> None:
        """Stay with the last accepted activity; go on from this one if enough in a row contradict that."""
        self._impossible = impossible.reason
        figures = {"busy_ns": usage.busy_ns, "last_busy_ns": previous.busy_ns, "cpus": usage.cpus}
        self._unsaid.append(Note("refused", impossible.reason, figures))
        if self._rejected.reject(usage, follows):
            for account in self._accounts:
                account.gaps += 1
            self._unsaid.append(Note("gap", _CONTRADICTED))
            self._accept(usage)

    def read(self, now_ns: int) -> Readings:
        """Each zone up to the last activity; nothing if that is missing or old."""
        notes, self._unsaid = self._unsaid, []
        reason = self._impossible or self._staleness(now_ns)
        if self._usage is None or reason:
            return Readings([], SourceState(name=SOURCE, up=False, reason=reason), notes)
        rows = [self._row(account, self._usage) for account in self._accounts]
        return Readings(rows, SourceState(name=SOURCE, up=True), notes)

    def begin_again(self) -> None:
        """End all series: the next one begins with the next activity."""
        for account in self._accounts:
            account.energy_uj = account.gaps = account.parts = 0
        self._usage, self._epoch = None, 0

    def close(self) -> None:
        """Nothing is open."""

    def _resume(self, former: Former) -> None:
        for account in self._accounts:
            row = former.rows[account.zone]
            account.energy_uj, account.gaps = row.energy_uj, row.gaps
        row = former.rows[self.zones[ZONES.index(PACKAGE)]]
        self._epoch = row.epoch
        self._usage = NodeUse(mono_ns=row.mono_ns, busy_ns=row.raw, epoch=row.raw_epoch)

    def _row(self, account: Account, usage: NodeUse) -> ZoneEnergy:
        return ZoneEnergy(
            zone=account.zone,
            epoch=self._epoch,
            mono_ns=usage.mono_ns,
            energy_uj=account.energy_uj,
            raw=usage.busy_ns,
            raw_epoch=usage.epoch,
            gaps=account.gaps,
            error_ratio_ppm=account.error_ratio_ppm,
        )

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


def _new_count(activity: Activity, previous: NodeUse) -> Note:
    """A probe that is stopped begins a new count; after a crash it goes on with the old one."""
    unix_minus_mono_ns = activity.unix_ns - activity.mono_ns
    last = utc(previous.mono_ns + unix_minus_mono_ns)
    start = utc(max(previous.mono_ns, activity.epoch) + unix_minus_mono_ns)
    cause = f"energy between the probe's last sample at {last} and its new start at {start} is not counted"
    return Note("gap", cause, level=Level.INFO)
