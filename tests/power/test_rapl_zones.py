# SPDX-License-Identifier: Apache-2.0
"""Which zones a RAPL tree has, and what they are called."""

import pytest

from services.power.rapl_zones import find_zones, zone_of

from .world import RANGE_UJ, RaplTree


def names(found):
    return [(zone.zone.name, zone.zone.index) for zone in found.zones]


def modalias(tree, vendor):
    """What the kernel says of an x86 processor."""
    directory = tree.sysfs / "devices/system/cpu"
    directory.mkdir(parents=True)
    text = f"cpu:type:x86,ven{vendor}fam0017mod0031:feature:,0000,0001\n"
    (directory / "modalias").write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("name", "top_name", "expected"),
    [
        ("package-0", "package-0", ("package", "0")),
        ("package-12", "package-12", ("package", "12")),
        ("package-0-die-1", "package-0-die-1", ("package", "0-die-1")),
        ("core", "package-1", ("core", "1")),
        ("dram", "package-0-die-1", ("dram", "0-die-1")),
        ("uncore", "package-0", ("uncore", "0")),
        ("psys", "psys", ("psys", "psys")),
        ("psys-1", "psys-1", ("psys", "psys-1")),
    ],
)
def test_the_kernels_names_become_zones(name, top_name, expected):
    """Index is the package's socket, with its die where sockets have several."""
    zone = zone_of(name, top_name)
    assert (zone.name, zone.index) == expected


@pytest.mark.parametrize(
    ("name", "top_name"),
    [("gt", "package-0"), ("core", "psys"), ("dram", "dram"), ("package-x", "package-x"), ("", "package-0")],
)
def test_unknown_names_are_no_zones(name, top_name):
    """A name the kernel's source doesn't have is not guessed at."""
    assert zone_of(name, top_name) is None


def test_two_sockets_with_all_their_zones(tmp_path):
    """All sockets are found, each zone once though the kernel links nested ones at the top as well."""
    tree = RaplTree(tmp_path)
    for socket in (0, 1):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}")
        for number, name in enumerate(("core", "uncore", "dram")):
            nested = f"intel-rapl:{socket}/intel-rapl:{socket}:{number}"
            tree.zone(nested, name)
            tree.link(nested)
    tree.zone("intel-rapl:2", "psys")
    found = find_zones(tree.sysfs)
    sockets = [(name, index) for index in "01" for name in ("package", "core", "uncore", "dram")]
    assert names(found) == [*sockets, ("psys", "psys")]
    assert (found.unreadable, found.skipped, found.dangling) == ([], [], [])
    assert {zone.range_uj for zone in found.zones} == {RANGE_UJ}


def test_dies_of_one_socket_do_not_collide(tmp_path):
    """Four dies on two sockets are four packages, each with its own dram."""
    tree = RaplTree(tmp_path)
    for number, name in enumerate(f"package-{socket}-die-{die}" for socket in (0, 1) for die in (0, 1)):
        tree.zone(f"intel-rapl:{number}", name)
        tree.zone(f"intel-rapl:{number}/intel-rapl:{number}:0", "dram")
    found = find_zones(tree.sysfs)
    assert len(set(names(found))) == 8
    assert ("dram", "1-die-0") in names(found)


def test_the_number_of_a_zone_is_not_its_socket(tmp_path):
    """The kernel numbers zones as it finds them; only the name tells the socket."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-1")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "dram")
    assert names(find_zones(tree.sysfs)) == [("package", "1"), ("dram", "1")]


def test_ten_zones_come_in_the_order_of_their_numbers(tmp_path):
    """intel-rapl:10 comes after intel-rapl:9."""
    tree = RaplTree(tmp_path)
    for socket in range(11):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}")
    assert [index for _name, index in names(find_zones(tree.sysfs))] == [str(n) for n in range(11)]


def test_mmio_repeats_are_ignored(tmp_path):
    """intel-rapl-mmio shows the same package a second time: counted once."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl-mmio:0", "package-0")
    (tree.powercap / "intel-rapl").mkdir()
    found = find_zones(tree.sysfs)
    assert names(found) == [("package", "0")]
    assert (found.unreadable, found.skipped, found.dangling) == ([], [], [])


def test_a_range_that_is_no_number_is_told_in_words(tmp_path):
    """Where a zone can't be read: its path and what is wrong, in no language's error text."""
    tree = RaplTree(tmp_path)
    directory = tree.zone("intel-rapl:0", "package-0")
    (directory / "max_energy_range_uj").write_text("many\n", encoding="ascii")
    (tree.zone("intel-rapl:1", "package-1") / "name").unlink()
    found = find_zones(tree.sysfs)
    assert [(one.zone, one.index, one.why, one.reason) for one in found.unreadable] == [
        (
            *("", "intel-rapl:0", "unreadable"),
            f"{directory}: expected a name, and a number in max_energy_range_uj",
        ),
        ("", "intel-rapl:1", "unreadable", f"{tree.powercap}/intel-rapl:1/name: No such file or directory"),
    ]


@pytest.mark.parametrize("range_uj", [0, -1, 2**63, 10**40])
def test_a_range_that_no_frame_can_hold_is_none(tmp_path, range_uj):
    """A counter within such a range could not be published."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", range_uj=range_uj)
    found = find_zones(tree.sysfs)
    assert found.zones == []
    (one,) = found.unreadable
    assert (one.zone, one.index) == ("package", "0")
    assert f"expected a range from 1 to {2**63 - 1}, got {range_uj}"[:90] in one.reason


def test_what_is_left_out_is_said(tmp_path):
    """An unknown name, a repeated one and a counter without a range each get one reason that names them."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "mystery")
    tree.zone("intel-rapl:1", "package-0")
    tree.zone("intel-rapl:2", "psys", range_uj=0)
    (tree.zone("intel-rapl:3", "package-3") / "max_energy_range_uj").unlink()
    found = find_zones(tree.sysfs)
    assert names(found) == [("package", "0")]
    mystery, repeated = found.skipped
    assert "'mystery'" in mystery
    assert "package 0 is already shown" in repeated
    no_range, gone = found.unreadable
    assert "expected a range from 1 to" in no_range.reason
    assert "No such file" in gone.reason


@pytest.mark.parametrize(
    ("vendor", "is_core_one"), [("0002", True), ("0009", True), ("0000", False), ("0005", False)]
)
def test_the_core_zone_of_amd_is_one_cores(tmp_path, vendor, is_core_one):
    """AMD's and Hygon's is left out with one reason for each; Intel's and others' are not."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "core")
    modalias(tree, vendor)
    found = find_zones(tree.sysfs)
    assert names(found) == [("package", "0")] + [("core", "0")] * (not is_core_one)
    assert [("one of its cores" in reason) for reason in found.skipped] == [True] * is_core_one


def test_links_that_lead_nowhere_have_one_reason_and_its_cure(tmp_path):
    """A container engine that masks powercap leaves the links: one sentence, whatever their number."""
    tree = RaplTree(tmp_path)
    for name in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1"):
        (tree.powercap / name).symlink_to(f"../../devices/virtual/powercap/intel-rapl/{name}")
    found = find_zones(tree.sysfs)
    assert (found.zones, found.unreadable, found.skipped) == ([], [], [])
    reason = found.why_none(tree.powercap)
    assert f"3 zones in {tree.powercap} are links that lead nowhere" in reason
    assert "mount the host's /sys read-only into the container and set --path.sysfs" in reason
