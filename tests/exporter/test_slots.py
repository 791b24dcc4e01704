# SPDX-License-Identifier: Apache-2.0
"""Owners and spares of slots, as a scrape and the page show them."""

import msgspec

from services.exporter.inputs import Inputs
from services.exporter.pages import landing_page
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import EnergySpares

from .frames import NOW_NS, books
from .readback import scraped

ZONES = [("platform", "0", "redfish"), ("platform", "acpi", "acpi"), ("package", "0", "rapl-sysfs")]
COLUMNS = {
    "is_owner": U8([1, 0, 1]),
    "stream": ["power-bmc", "power", "power"],
    "rank": U32([7, 9, 0]),
    "takeovers": U32([2, 1, 0]),
    "integration_uj": U64([1_500_000, 0, 0]),
}


def energy(spares=(), **columns):
    frame = books(ZONES, [], [], [], doubt=COLUMNS | columns)
    table = EnergySpares(
        zone=[one[0] for one in spares],
        index=[one[1] for one in spares],
        source=[one[2] for one in spares],
        stream=["power"] * len(spares),
        rank=U32([9] * len(spares)),
    )
    return msgspec.structs.replace(frame, spares=table)


def shown(frame, name):
    return {
        (one.labels["zone"], one.labels["source"]): int(one.value)
        for one in scraped(frame)
        if one.name == name
    }


def test_each_source_of_a_slot_is_shown_once():
    """The owner is 1; former owners, and spares that were never counted, are 0."""
    spares = [("platform", "acpi", "acpi"), ("package", "0", "rapl-perf")]
    found = [one for one in scraped(energy(spares)) if one.name == "wattline_zone_owner"]
    assert {
        (one.labels["source"], one.labels["stream"], one.labels["rank"], int(one.value)) for one in found
    } == {
        ("redfish", "power-bmc", "7", 1),
        ("acpi", "power", "9", 0),
        ("rapl-sysfs", "power", "0", 1),
        ("rapl-perf", "power", "9", 0),
    }
    assert len(found) == 4


def test_takeovers_are_counted_by_series():
    """Summed over sources, they are the changes of the slot's owner."""
    assert shown(energy(), "wattline_zone_takeovers_total") == {
        ("platform", "redfish"): 2,
        ("platform", "acpi"): 1,
        ("package", "rapl-sysfs"): 0,
    }


def test_the_error_of_integration_is_in_joules():
    """From µJ, of each series."""
    values = [one.value for one in scraped(energy()) if one.name == "wattline_zone_integration_error_joules"]
    assert [float(value) for value in values] == [1.5, 0, 0]


def test_an_older_calculators_frame_shows_none():
    """Absence is not zero."""
    frame = books(ZONES, [], [], [])
    names = {one.name for one in scraped(frame)}
    assert not {name for name in names if "owner" in name or "takeovers" in name or "integration" in name}


def test_the_page_shows_spares_where_there_are_some():
    """With rank and role; no table where each slot has one source."""
    page = landing_page(Inputs(energy=energy([("platform", "acpi", "acpi")])), NOW_NS)
    assert "<td>acpi</td><td>power</td><td>rank 9</td><td>spare</td>" in page
    assert "former owner" not in page
    page = landing_page(Inputs(energy=energy([("package", "0", "rapl-perf")])), NOW_NS)
    assert "<td>rapl-perf</td><td>power</td><td>rank 9</td><td>spare</td>" in page
    assert "<td>acpi</td><td>power</td><td>rank 9</td><td>former owner</td>" in page
    alone = landing_page(Inputs(energy=energy(is_owner=U8([1, 1, 1]))), NOW_NS)
    assert "Sources of zones" not in alone
