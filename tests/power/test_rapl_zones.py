# SPDX-License-Identifier: Apache-2.0
"""Which zones a RAPL tree has, and what they are called."""

import pytest

from services.power.rapl_zones import find_zones, zone_of

from .world import RANGE_UJ, RaplTree


def names(found):
    return [(zone.zone.name, zone.zone.index) for zone in found]


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
    found, passed_over = find_zones(tree.powercap)
    sockets = [(name, index) for index in "01" for name in ("package", "core", "uncore", "dram")]
    assert names(found) == [*sockets, ("psys", "psys")]
    assert passed_over == []
    assert {zone.range_uj for zone in found} == {RANGE_UJ}


def test_dies_of_one_socket_do_not_collide(tmp_path):
    """Four dies on two sockets are four packages, each with its own dram."""
    tree = RaplTree(tmp_path)
    for number, name in enumerate(f"package-{socket}-die-{die}" for socket in (0, 1) for die in (0, 1)):
        tree.zone(f"intel-rapl:{number}", name)
        tree.zone(f"intel-rapl:{number}/intel-rapl:{number}:0", "dram")
    found, _ = find_zones(tree.powercap)
    assert len(set(names(found))) == 8
    assert ("dram", "1-die-0") in names(found)


def test_the_number_of_a_zone_is_not_its_socket(tmp_path):
    """The kernel numbers zones as it finds them; only the name tells the socket."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-1")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "dram")
    assert names(find_zones(tree.powercap)[0]) == [("package", "1"), ("dram", "1")]


def test_ten_zones_come_in_the_order_of_their_numbers(tmp_path):
    """intel-rapl:10 comes after intel-rapl:9."""
    tree = RaplTree(tmp_path)
    for socket in range(11):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}")
    assert [index for _name, index in names(find_zones(tree.powercap)[0])] == [str(n) for n in range(11)]


def test_mmio_repeats_are_ignored(tmp_path):
    """intel-rapl-mmio shows the same package a second time: counted once."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl-mmio:0", "package-0")
    (tree.powercap / "intel-rapl").mkdir()
    found, passed_over = find_zones(tree.powercap)
    assert names(found) == [("package", "0")]
    assert passed_over == []


def test_a_range_that_is_no_number_is_told_in_words(tmp_path):
    """Where a zone can't be read: its path and what is wrong, in no language's error text."""
    tree = RaplTree(tmp_path)
    directory = tree.zone("intel-rapl:0", "package-0")
    (directory / "max_energy_range_uj").write_text("many\n", encoding="ascii")
    (tree.zone("intel-rapl:1", "package-1") / "name").unlink()
    assert find_zones(tree.powercap)[1] == [
        f"{directory}: expected a name, and a number in max_energy_range_uj",
        f"{tree.powercap}/intel-rapl:1/name: No such file or directory",
    ]


@pytest.mark.parametrize("range_uj", [0, -1, 2**63, 10**40])
def test_a_range_that_no_frame_can_hold_is_none(tmp_path, range_uj):
    """A counter within such a range could not be published."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", range_uj=range_uj)
    found, passed_over = find_zones(tree.powercap)
    assert found == []
    assert f"expected a range from 1 to {2**63 - 1}, got {range_uj}"[:90] in passed_over[0]


def test_what_is_passed_over_is_said(tmp_path):
    """An unknown name, a repeated one and a counter without a range each get one reason that names them."""
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "mystery")
    tree.zone("intel-rapl:1", "package-0")
    tree.zone("intel-rapl:2", "psys", range_uj=0)
    (tree.zone("intel-rapl:3", "package-3") / "max_energy_range_uj").unlink()
    found, passed_over = find_zones(tree.powercap)
    assert names(found) == [("package", "0")]
    assert [
        word in reason
        for word, reason in zip(
            ("'mystery'", "package 0 is already shown", "expected a range from 1 to", "No such file"),
            passed_over,
            strict=True,
        )
    ] == [True] * 4
