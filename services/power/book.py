# SPDX-License-Identifier: Apache-2.0
"""One zone of a meter: its channel now, its account, and its newest row."""

import time

from wattline.zone_power import power_max_uw

from .channel import Channel, Kind, Sample
from .counter import Account, Gap, Limits, Reading, Refused, Step
from .gauge import GaugeAccount, GaugeLimits
from .source import Former, Level, Note, ZoneEnergy, utc

# A sample of a later time than now can't be true; a clock that is mapped to ours may be off by this much.
_AHEAD_NS = 1_000_000_000
# `raw_epoch` of a gauge's rows: their raw figure is power, which a counter can't go on from.
_GAUGE = 1
_OTHER_METER = (
    "another meter shows it now, or one with another range: energy since the last reading is not counted"
)


class Book:
    """A zone's channel and account."""

    def __init__(self, channel: Channel, former: Former) -> None:
        self.channel = channel
        self.is_listed = True  # its channel is there
        self.missing = ""  # why it isn't known whether the channel is there
        self.epoch = 0  # 0: nothing counted yet
        self.row: ZoneEnergy | None = None  # its newest
        self.refused_in_row = 0
        self.rejection = ""  # why the newest sample was rejected
        self.is_faulty = False  # and that shows a fault of the meter
        self._seen_ns = 0  # time of the newest sample
        self._stopped = ""  # when the former run stopped, until this one's first reading
        self._integration_uj = 0  # of gauges that the zone had before
        self._account = _account(channel)
        if row := former.rows.get(channel.zone):
            self.epoch, self.row, self._seen_ns = row.epoch, row, row.mono_ns
            self._resume(row)
            self._stopped = utc(row.mono_ns + former.unix_minus_mono_ns)

    def place(self, channel: Channel) -> Note | None:
        """Go on with the channel that discovery has found for the zone; the note says if that is a gap."""
        before, self.channel = self.channel, channel
        if channel is not before:
            before.close()
        if not self.is_listed and isinstance(self._account, Account):
            self._account.was_away()
        self.is_listed, self.missing = True, ""
        if (channel.kind, channel.range_uj) != (before.kind, before.range_uj):
            self._replace_account()
            return Note("gap", f"{channel.zone}: {_OTHER_METER}", level=Level.INFO)
        if isinstance(self._account, GaugeAccount):
            self._account.limits = _gauge_limits(channel)
        return None

    def read(self) -> Sample:
        """The channel's newest sample. Raises OSError, or ValueError saying what is wrong."""
        if self.missing:
            raise ValueError(self.missing)
        return self.channel.read()

    def take(self, sample: Sample, now_ns: int) -> Note | None:
        """Account for a sample; the note says what is wrong with it, if anything is."""
        ahead_ns = sample.mono_ns - max(now_ns, time.monotonic_ns())
        if ahead_ns > _AHEAD_NS:
            return self._reject(
                sample, Refused(f"expected a time of at most now, got one {ahead_ns / 1e9:.3g} s ahead")
            )
        if sample.mono_ns <= self._seen_ns:
            return None  # no new reading
        self._seen_ns = sample.mono_ns
        result = self._result(sample)
        if isinstance(result, Refused):
            return self._reject(sample, result)
        self.refused_in_row, self.rejection, self.is_faulty = 0, "", False
        self.epoch = self.epoch or min(now_ns, sample.mono_ns)
        self.row = self._row(sample)
        stopped, self._stopped = self._stopped, ""
        return self._gap_note(result, stopped) if isinstance(result, Gap) else None

    def _result(self, sample: Sample) -> Step:
        if isinstance(self._account, Account):
            return self._account.take(Reading(sample.mono_ns, sample.value))
        return self._account.take(sample)

    def _reject(self, sample: Sample, refused: Refused) -> Note:
        self.refused_in_row += 1
        self.rejection = f"{self.channel.zone}: reading rejected: {refused.reason}"
        self.is_faulty = not refused.is_doubt
        event, level = ("refused", Level.COUNTED) if self.is_faulty else ("doubted", Level.INFO)
        return Note(event, self.rejection, {"raw": sample.value}, level)

    def _resume(self, row: ZoneEnergy) -> None:
        """Go on from the former run's row; one of another kind, or of another range, was another meter's."""
        account = self._account
        account.energy_uj, account.gaps = row.energy_uj, row.gaps
        if (row.raw_epoch == _GAUGE, row.raw_range) != (isinstance(account, GaugeAccount), _range(account)):
            self._integration_uj = row.integration_uj
            account.gaps += 1
        elif isinstance(account, GaugeAccount):
            account.last, account.integration_uj = Sample(row.mono_ns, row.raw), row.integration_uj
        else:
            account.last, self._integration_uj = Reading(row.mono_ns, row.raw), row.integration_uj

    def _replace_account(self) -> None:
        before, self._account = self._account, _account(self.channel)
        self._integration_uj += getattr(before, "integration_uj", 0)
        self._account.energy_uj, self._account.gaps = before.energy_uj, before.gaps + 1

    def _gap_note(self, gap: Gap, stopped: str) -> Note:
        since = f" (since the stop at {stopped})" if stopped else ""
        level = Level.INFO if stopped and gap.is_pause else Level.COUNTED
        return Note("gap", f"{self.channel.zone}{since}: {gap.reason}", level=level)

    def _row(self, sample: Sample) -> ZoneEnergy:
        return ZoneEnergy(
            zone=self.channel.zone,
            epoch=self.epoch,
            mono_ns=sample.mono_ns,
            energy_uj=self._account.energy_uj,
            raw=sample.value,
            raw_range=_range(self._account),
            raw_epoch=_GAUGE if isinstance(self._account, GaugeAccount) else 0,
            gaps=self._account.gaps,
            period_ns=self.channel.period_ns,
            integration_uj=self._integration_uj + getattr(self._account, "integration_uj", 0),
        )


def _account(channel: Channel) -> Account | GaugeAccount:
    if channel.kind is Kind.GAUGE:
        return GaugeAccount(_gauge_limits(channel))
    return Account(Limits(channel.range_uj, _power_max_uw(channel)))


def _gauge_limits(channel: Channel) -> GaugeLimits:
    return GaugeLimits(channel.bridge_ns, _power_max_uw(channel))


def _power_max_uw(channel: Channel) -> int:
    return power_max_uw(channel.zone.name, is_measured=True)


def _range(account: Account | GaugeAccount) -> int:
    return account.limits.range_uj if isinstance(account, Account) else 0
