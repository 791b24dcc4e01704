# SPDX-License-Identifier: Apache-2.0
"""How old data may be."""

import pytest

from services.exporter import scrape
from services.exporter.inputs import WITHHELD_AFTER_NS, Inputs, why_not_ready
from services.exporter.self_metrics import HttpCounts
from wattline.wire.columns import U8, U64
from wattline.wire.frames import SourceState

from .frames import NOW_NS, books, metadata, small, status
from .readback import read, total

S = 1_000_000_000
ZONES = [("package", "0", "rapl-sysfs"), ("platform", "bmc", "redfish")]


def frame(**ages):
    return books(ZONES, [], [], [], **ages)


@pytest.mark.parametrize("interval_ns", [S // 10, S, 60 * S])
def test_fresh_energy_is_ready_until_three_intervals_and_two_seconds(interval_ns):
    """Ready until the frame is 3 intervals and 2 s old, on the clock of the frame."""
    limit_ns = 3 * interval_ns + 2 * S
    energy = frame(interval_ns=interval_ns)
    assert why_not_ready(Inputs(energy=energy), NOW_NS) == ""
    assert why_not_ready(Inputs(energy=energy), NOW_NS + limit_ns - 1) == ""
    assert "the newest energy frame is" in why_not_ready(Inputs(energy=energy), NOW_NS + limit_ns)


def test_old_watermarks_are_not_ready():
    """Fresh frames about old energy are not ready: the meters or the probe have stopped."""
    assert why_not_ready(Inputs(energy=frame(watermark_ns=NOW_NS - 5 * S + 1)), NOW_NS) == ""
    reason = why_not_ready(Inputs(energy=frame(watermark_ns=NOW_NS - 5 * S)), NOW_NS)
    assert "package 0 from rapl-sysfs" in reason
    assert "5.0 s old" in reason


def test_every_zone_that_power_reports_must_be_fresh():
    """A zone that stands still is named, unless power no longer reports it."""
    energy = frame(doubt={"is_listed": U8([1, 1])})
    energy.zones.watermark_mono_ns[1] = NOW_NS - 5 * S
    reason = why_not_ready(Inputs(energy=energy), NOW_NS)
    assert "zone platform bmc from redfish is 5.0 s old, expected less than 5.0 s" in reason
    energy.zones.is_listed[1] = 0
    assert why_not_ready(Inputs(energy=energy), NOW_NS) == ""
    energy.zones.is_listed[0] = 0  # none left: the newest counts
    assert why_not_ready(Inputs(energy=energy), NOW_NS) == ""
    energy.zones.watermark_mono_ns[0] = NOW_NS - 6 * S
    assert "5.0 s old" in why_not_ready(Inputs(energy=energy), NOW_NS)


def test_a_slow_meter_has_three_of_its_own_intervals():
    """A meter that is read once a minute is fresh for 182 s."""
    energy = frame(doubt={"is_listed": U8([1, 1]), "reading_interval_ns": U64([S, 60 * S])})
    energy.zones.watermark_mono_ns[1] = NOW_NS - 182 * S + 1
    assert why_not_ready(Inputs(energy=energy), NOW_NS) == ""
    energy.zones.watermark_mono_ns[1] -= 1
    assert "platform bmc" in why_not_ready(Inputs(energy=energy), NOW_NS)


def test_without_a_word_on_what_is_reported_the_newest_zone_counts():
    """A calculator that leaves the optional column out is ready with one zone that is up to date."""
    energy = frame(watermark_ns=NOW_NS - 3600 * S)
    energy.zones.watermark_mono_ns[1] = NOW_NS
    assert why_not_ready(Inputs(energy=energy), NOW_NS) == ""


def test_nothing_is_not_ready():
    """Without a frame, or with one that has no zone, there is a reason to give, in one line."""
    for energy in (None, books([], [], [], [])):
        reason = why_not_ready(Inputs(energy=energy), NOW_NS)
        assert reason
        assert "\n" not in reason


def names_at(inputs, now_ns):
    return {one.name for one in read(scrape.text(inputs, HttpCounts({}, 0), "x86_64", now_ns))}


def test_old_books_are_withheld():
    """Books without news for five minutes are no longer shown: counters that stand still look like 0 W."""
    inputs = Inputs(energy=small())
    last_ns = NOW_NS + WITHHELD_AFTER_NS + 5 * S
    assert "kepler_node_package_joules_total" in names_at(inputs, last_ns)
    later = names_at(inputs, last_ns + 1)
    assert not {name for name in later if "joules" in name or "source_up" in name}
    assert {"kepler_exporter_build_info", "wattline_build_info", "wattline_stage_up"} <= later


def test_stage_that_is_gone_keeps_only_its_absence():
    """A stage whose status is overdue is down, and what it once used is not shown as news."""
    inputs = Inputs(statuses={"probe": status("probe")})
    series = read(scrape.text(inputs, HttpCounts({}, 0), "x86_64", NOW_NS + 5 * S))
    of_probe = {one.name: one.value for one in series if one.labels.get("stage") == "probe"}
    assert set(of_probe) == {"wattline_stage_up", "wattline_stage_last_frame_timestamp_seconds"}
    assert of_probe["wattline_stage_up"] == 0


def test_stages_never_seen_are_down():
    """All five services have an `up`, seen or not, so that one alert covers them all."""
    series = read(scrape.text(Inputs(), HttpCounts({}, 0), "x86_64", NOW_NS))
    ups = [one for one in series if one.name == "wattline_stage_up"]
    assert [one.value for one in ups] == [0] * 5


def test_source_down_for_anybody_is_down():
    """A source that two frames report is one series, and down if either says so."""
    inputs = Inputs(
        energy=books(ZONES, [], [], [], sources=[SourceState(name="a", up=True)]),
        metadata=metadata(
            sources=[SourceState(name="a", up=False, reason="gone"), SourceState(name="b", up=True)]
        ),
    )
    series = read(scrape.text(inputs, HttpCounts({}, 0), "x86_64", NOW_NS))
    assert total(series, "wattline_source_up", source="a") == 0
    assert total(series, "wattline_source_up", source="b") == 1


def status_at(service, *, useful_ns=NOW_NS, failed_turns=0):
    return status(service, useful_mono_ns=useful_ns, failed_turns=failed_turns)


def test_not_ready_names_the_stage_at_fault():
    """Where energy stands still, the reason names the stage whose fault it is, not those that wait for it."""
    old_ns = NOW_NS - 60 * S
    statuses = {
        "probe": status_at("probe"),
        "power": status_at("power", useful_ns=old_ns, failed_turns=9),
        "metadata": status_at("metadata"),
        "calculator": status_at("calculator", useful_ns=old_ns),
    }
    inputs = Inputs(energy=frame(watermark_ns=old_ns), statuses=statuses)
    reason = why_not_ready(inputs, NOW_NS)
    assert "At fault: the content of power has not advanced for 60.0 s: 9 turns have failed" in reason
    series = read(scrape.text(inputs, HttpCounts({}, 0), "x86_64", NOW_NS))
    ups = {one.labels["stage"]: one.value for one in series if one.name == "wattline_stage_up"}
    assert ups == {"probe": 1, "power": 0, "metadata": 1, "calculator": 1, "exporter": 0}
    failed = {one.labels["stage"]: one.value for one in series if one.name == "wattline_stage_failed_turns"}
    assert failed["power"] == 9
