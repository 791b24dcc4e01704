# SPDX-License-Identifier: Apache-2.0
"""Pages about meters: the tests that their tables name exist, and no file of power is left out."""

import re
from pathlib import Path

import pytest

from services.power.sources import SOURCES
from tests.power.redfish.test_faults import COUNTER_FAULTS, GAUGE_FAULTS

ROOT = Path(__file__).parents[2]
_WITHOUT_TEST = ("none", "not yet")


def rows(page: str, name: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    text = (ROOT / page).read_text(encoding="utf-8")
    body = text.partition(f"<!-- table: {name} -->\n")[2].partition("<!-- end of table -->")[0]
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in body.splitlines()[2:]]


def codes(cell: str) -> list[str]:
    """What is set as code in a cell."""
    return re.findall(r"`([^`]*)`", cell)


def check_test(cell: str) -> None:
    """Fail unless the cell names one test that is there."""
    (name,) = codes(cell)
    path, _, function = name.partition("::")
    assert f"\ndef {function}(" in (ROOT / "tests/power" / path).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("row", rows("docs/meters.md", "kepler"), ids=lambda row: row[0])
def test_each_source_beside_keplers_has_a_test(row):
    """Only what is not here has none."""
    _kepler, here, _why, test = row
    if here in _WITHOUT_TEST and test == "–":
        return
    check_test(test)


def test_all_sources_are_beside_keplers():
    """Each of ours has a row."""
    assert {name for row in rows("docs/meters.md", "kepler") for name in codes(row[1])} == {
        entry.name for entry in SOURCES
    }


@pytest.mark.parametrize("row", rows("docs/meters.md", "kepler faults"), ids=lambda row: row[0])
def test_each_fault_of_keplers_has_a_test(row):
    """The one that guards against it here."""
    check_test(row[2])


def test_each_fault_of_a_bmc_is_on_the_page():
    """All faults of the tests' table are in the page's, with the time after which they are reported."""
    page = rows("docs/redfish.md", "faults")
    named = {name for row in page for name in codes(row[1])}
    assert {fault.fault for fault in (*GAUGE_FAULTS, *COUNTER_FAULTS)} <= named
    for fault in COUNTER_FAULTS:
        assert any(fault.fault in codes(row[1]) and row[3] == str(fault.rounds) for row in page), fault


def test_each_file_of_the_calculator_is_in_its_readme():
    """Each is in some row of its table."""
    service = ROOT / "services/calculator"
    named = set(codes((service / "README.md").read_text(encoding="utf-8")))
    assert {path.name for path in service.glob("[a-z]*.py")} <= named


def test_each_file_of_power_is_in_its_readme():
    """A newcomer finds what each file is."""
    table = rows("services/power/README.md", "files")
    named = {name for row in table for name in codes(row[0])}
    power = ROOT / "services/power"
    there = {path.name for path in power.glob("*.py") if not path.name.startswith("__")}
    there |= {f"redfish_bmc/{path.name}" for path in (power / "redfish_bmc").glob("[a-z]*.py")}
    assert named == there | {"models/"}
