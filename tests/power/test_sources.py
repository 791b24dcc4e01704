# SPDX-License-Identifier: Apache-2.0
"""The table of sources: its modules, its pages, and the rights that each source needs."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.power import opening, sources
from services.power.needs import Needs, union
from services.power.opening import limits, module_of, needs_of, needs_of_one
from services.power.settings import PowerSettings
from services.power.sources import SOURCES, Entry, Way
from wattline.confine.capabilities import BITS
from wattline.pipeline import SERVICES
from wattline.zone_power import POWER_MAX_W

_ROOT = Path(__file__).parents[2]
_EACH = pytest.mark.parametrize("entry", SOURCES, ids=lambda entry: entry.name)
_ZONES = {*POWER_MAX_W, "platform"}


def table(page: str, name: str) -> dict[str, list[str]]:
    """The rows of a page's table by source, in order."""
    text = (_ROOT / page).read_text(encoding="utf-8")
    body = text.partition(f"<!-- table: {name} -->\n")[2].partition("<!-- end of table -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in rows}


def codes(*cells: str) -> set[str]:
    return {code for cell in cells for code in re.findall(r"`([^`]*)`", cell)}


def most(entry: Entry) -> Needs:
    """The most that a source may need: on any machine (NEEDS), else on this one."""
    return getattr(module_of(entry), "NEEDS", None) or needs_of_one(entry, PowerSettings())


@_EACH
def test_each_module_is_what_the_table_says(entry):
    """It has the source's name, opens it, and a worker's period."""
    module = module_of(entry)
    assert entry.name == module.SOURCE
    assert callable(module.open_source)
    assert (entry.way is Way.WORKER) == hasattr(module, "period_ns")
    if entry.way is Way.WORKER:
        assert module.period_ns(PowerSettings()) > 0


def test_names_are_unique_and_the_estimate_is_last():
    """A name stands for one source, and its place is its rank."""
    names = [entry.name for entry in SOURCES]
    assert len(set(names)) == len(names) == len({entry.module for entry in SOURCES})
    assert [entry.way for entry in SOURCES].index(Way.ESTIMATE) == len(SOURCES) - 1


@pytest.mark.parametrize(
    ("page", "name"),
    [("docs/meters.md", "sources"), ("docs/security.md", "power"), ("services/power/README.md", "power")],
)
def test_each_source_is_on_the_pages(page, name):
    """All of them, in the table's order."""
    assert list(table(page, name)) == [entry.name for entry in SOURCES]


@_EACH
def test_the_page_of_meters_says_how_it_is_read(entry):
    """Module, zones, way, and whether it is used by default."""
    module, zones, way, used = table("docs/meters.md", "sources")[entry.name]
    assert codes(module) == {entry.module}
    assert _ZONES & set(re.findall(r"\w+", zones))
    assert way == entry.way.value
    assert used == ("by default" if entry.by_default else "on request")


@_EACH
def test_the_tables_of_rights_say_what_it_needs(entry):
    """Capabilities, families of sockets, system calls and ioctls, in both tables."""
    needs = most(entry)
    opened, read, network, calls, _why = table("docs/security.md", "power")[entry.name]
    ioctls = {f"0x{request:x}" for request in needs.ioctls}
    expected = [
        {*needs.capabilities},
        {socket.AddressFamily(family).name for family in needs.families},
        {*needs.calls, *ioctls},
    ]
    assert [codes(opened, read), codes(network), codes(calls)] == expected
    assert [codes(cell) for cell in table("services/power/README.md", "power")[entry.name]] == expected
    assert {*needs.capabilities} <= {*BITS}
    on_this_machine = needs_of_one(entry, PowerSettings())
    assert {*on_this_machine.capabilities} <= {*needs.capabilities}
    assert {*on_this_machine.families} <= {*needs.families}


def test_an_ordinary_machine_gives_power_one_capability(tmp_path):
    """By default: CAP_DAC_READ_SEARCH for RAPL, no network, and no further call."""
    kept = limits()
    settings = PowerSettings(path_sysfs=tmp_path)
    assert list(kept.capabilities(settings)) == ["CAP_DAC_READ_SEARCH"]
    assert kept.families(settings) == (socket.AF_UNIX,)
    assert (kept.calls(settings), kept.ioctls(settings)) == ({}, ())


def test_a_source_that_is_left_out_needs_nothing():
    """Rights follow the setting."""
    assert needs_of(PowerSettings(power_sources="trained_power_model")) == Needs()


def test_the_process_keeps_the_union():
    """Each right once, whoever needs it."""
    one = Needs(("CAP_PERFMON",), (socket.AF_INET,), {"perf_event_open": (298, 241)}, (7,))
    two = Needs(("CAP_DAC_READ_SEARCH", "CAP_PERFMON"), (socket.AF_INET, socket.AF_INET6), ioctls=(7, 3))
    both = union([one, two, Needs()])
    assert both.capabilities == ("CAP_DAC_READ_SEARCH", "CAP_PERFMON")
    assert both.families == (socket.AF_INET, socket.AF_INET6)
    assert both.calls == {"perf_event_open": (298, 241)}
    assert both.ioctls == (3, 7)


def test_needs_are_asked_for_once(monkeypatch):
    """A source may look at the machine for them, and after the change of user it might see another one."""
    asked = []
    monkeypatch.setattr(opening, "needs_of_one", lambda entry, _settings: asked.append(entry.name) or Needs())
    settings, kept = PowerSettings(node="asked-once"), limits()
    kept.capabilities(settings), kept.families(settings), kept.calls(settings), kept.ioctls(settings)
    needs_of.cache_clear()
    assert asked == [entry.name for entry in SOURCES if entry.by_default]


def test_only_modules_of_sources_in_use_are_imported():
    """A large package of one source costs nothing where that isn't used."""
    code = (
        "import sys; from services.power.opening import needs_of; from services.power.settings import *; "
        "needs_of(PowerSettings(power_sources='trained_power_model')); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    modules = {f"services.power.{entry.module}" for entry in sources.SOURCES}
    assert modules & {*loaded} == {"services.power.estimator"}
    assert not {f"services.{name}" for name in SERVICES if name != "power"} & {*loaded}
