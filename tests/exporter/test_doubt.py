# SPDX-License-Identifier: Apache-2.0
"""How far the books can be trusted, as a scrape shows it."""

from decimal import Decimal

import pytest

from wattline.wire.columns import U32, U64

from .frames import books, small
from .readback import scraped

ZONES = [("package", "0", "rapl-sysfs"), ("other", "chassis-1", "redfish")]
COLUMNS = {
    "share_by": ["cycles", "cpu_time"],
    "model_error_ratio_ppm": U32([1, 2]),
    "idle_method": ["learned", "fixed"],
    "idle_doubt_uw": U64([0, 2]),
    "interpolation_uj": U64([0, 2]),
    "join_skew_ns": U64([0, 2]),
    "disagreement_uj": U64([0, 0]),
}
GAUGES = {
    "model_error_ratio_ppm": "wattline_zone_model_error_ratio",
    "idle_doubt_uw": "wattline_zone_idle_doubt_watts",
    "interpolation_uj": "wattline_zone_interpolation_joules",
    "join_skew_ns": "wattline_zone_join_skew_seconds",
    "disagreement_uj": "wattline_meter_disagreement_joules",
}


def shown(doubt, name):
    """Value by zone of a family."""
    energy = books(ZONES, [], [], [], doubt=doubt)
    return {one.labels["zone"]: one.value for one in scraped(energy) if one.name == name}


@pytest.mark.parametrize("column", GAUGES)
def test_a_column_left_out_has_no_series(column):
    """Absence is not zero: what an older calculator doesn't say is not shown, and all else still is."""
    doubt = {name: values for name, values in COLUMNS.items() if name != column}
    assert shown(COLUMNS, GAUGES[column])
    assert shown(doubt, GAUGES[column]) == {}
    for other, name in GAUGES.items():
        assert other == column or shown(doubt, name) == shown(COLUMNS, name)


def test_a_doubt_of_zero_is_shown():
    """A 0 that was said is a claim of the calculator, and stays one (idle power is that of package alone)."""
    assert shown(COLUMNS, "wattline_zone_idle_doubt_watts") == {
        "package": Decimal("0.000000"),
        "other": Decimal("0.000002"),
    }
    assert shown(COLUMNS, "wattline_zone_join_skew_seconds")["package"] == Decimal("0.000000000")


def test_idle_power_that_is_not_known_has_no_doubt():
    """A doubt of 0 about an idle power that nobody has seen yet would be a claim that nobody made."""
    doubt = COLUMNS | {"idle_doubt_uw": U64([7, 0])}
    assert shown(doubt, "wattline_zone_idle_doubt_watts") == {"package": Decimal("0.000007")}


def test_meters_disagree_in_other_alone():
    """The disagreement is between a platform's meter and those within: of the zone that compares them."""
    assert shown(COLUMNS, "wattline_meter_disagreement_joules") == {"other": Decimal("0.000000")}


def test_what_zones_are_shared_by():
    """The info has a series for each zone that says either; a word that isn't there is no label."""
    infos = {
        (one.labels["zone"], one.labels["index"]): (one.labels.get("share_by"), one.labels.get("idle_method"))
        for one in scraped(small())
        if one.name == "wattline_zone_share_info"
    }
    assert infos == {
        ("package", "0"): ("model", "learned"),
        ("package", "1"): ("cycles", "learned"),
        ("dram", "0"): ("cache_misses", "provisional"),
        ("platform", "chassis-1"): ("cpu_time", "observed-min"),
        ("psys", "0"): ("frequency", "fixed"),
        ("gpu", "GPU-7c"): ("gpu_time", "fixed"),
    }
    only_idle = books(ZONES, [], [], [], doubt={"idle_method": ["fixed", ""]})
    assert [one.labels for one in scraped(only_idle) if one.name == "wattline_zone_share_info"] == [
        {"zone": "package", "index": "0", "source": "rapl-sysfs", "idle_method": "fixed"}
    ]


def test_skew_of_activity():
    """In seconds; a calculator that doesn't say it (0) has no series."""
    name = "wattline_activity_skew_seconds"
    assert [one.value for one in scraped(small()) if one.name == name] == [Decimal("0.000021000")]
    assert not [one for one in scraped(books(ZONES, [], [], [])) if one.name == name]
