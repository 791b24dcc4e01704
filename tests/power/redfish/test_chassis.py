# SPDX-License-Identifier: Apache-2.0
"""Which chassis are this node's."""

import pytest

from services.power.redfish_bmc.chassis import SHARED, choose

from .shapes import CHASSIS, SYSTEM, V1, chassis, ref

OTHER = f"{V1}/Systems/2"


def within(name: str) -> dict:
    return {"Links": {"ContainedBy": ref(f"{CHASSIS}/{name}")}}


def chosen(tree, wanted=()):
    return [one.name for one in choose(tree, wanted).chosen]


def test_one_chassis():
    """The usual server has one."""
    assert chosen(chassis("1")) == ["1"]


def test_links_to_the_system_decide():
    """Drive bays and the like have no system."""
    assert chosen(chassis("1") | chassis("Bays", "Other", systems=())) == ["1"]


@pytest.mark.parametrize("kind", sorted(SHARED))
def test_a_shared_chassis_is_never_the_nodes(kind):
    """An enclosure's total is that of several nodes, even if it names this system, or a setting names it."""
    tree = chassis("Outer", kind) | chassis("Node", "Sled", **within("Outer"))
    assert chosen(tree) == ["Node"]
    assert chosen(tree, ["Outer"]) == []
    assert f"Outer is of type {kind}" in choose(tree, ["Outer"]).why_none


def test_two_chassis_of_one_system_add():
    """A node with its accelerators in a chassis beside it is metered by both."""
    assert chosen(chassis("1") | chassis("GPUs", "Expansion")) == ["1", "GPUs"]


@pytest.mark.parametrize("is_told_outside", [True, False])
def test_the_outer_of_two_has_the_inners_energy(is_told_outside):
    """Contains and ContainedBy mean the same; the inner one is only used if the outer one has no meter."""
    outer = {"Links": {"Contains": [ref(f"{CHASSIS}/Board")]}} if is_told_outside else {}
    inner = {} if is_told_outside else within("1")
    choice = choose(chassis("Board", "Module", **inner) | chassis("1", **outer))
    assert [one.name for one in choice.chosen] == ["1"]
    assert [one.name for one in choice.chosen[0].inner] == ["Board"]


def test_containment_through_a_third():
    """A chassis that isn't counted can stand between two that are."""
    tree = (
        chassis("1") | chassis("Zone1", "Zone", **within("1")) | chassis("Board", "Module", **within("Zone1"))
    )
    assert chosen(tree) == ["1"]


def test_chassis_that_contain_each_other():
    """Links in a circle are the BMC's error: the first one is taken, and nothing hangs."""
    assert chosen(chassis("A", **within("B")) | chassis("B", **within("A"))) == ["A"]


def test_parts_are_not_the_nodes():
    """A card's power is within its node's."""
    assert chosen(chassis("1") | chassis("GPU_0", "Card") | chassis("GPU_1", "Component")) == ["1"]


def test_two_nodes_need_a_setting():
    """Which of two systems this is can't be seen; the words name the chassis and the setting."""
    tree = chassis("N1", "Sled") | chassis("N2", "Sled", systems=(OTHER,))
    choice = choose(tree)
    assert not choice.chosen
    assert "N1, N2" in choice.why_none
    assert "redfish.chassis" in choice.why_none
    assert chosen(tree, ["N2"]) == ["N2"]


def test_without_links_two_are_ambiguous():
    """Two chassis that name no system may be two nodes'."""
    tree = chassis("A", systems=()) | chassis("B", systems=())
    assert not choose(tree).chosen
    assert chosen(chassis("A", systems=())) == ["A"]


def test_a_setting_can_choose_parts_and_several():
    """What is set is taken, but for what is in the total of another one."""
    tree = (
        chassis("1") | chassis("GPU_0", "Card", **within("1")) | chassis("GPU_1", "Card", systems=(SYSTEM,))
    )
    assert chosen(tree, ["GPU_0", "GPU_1"]) == ["GPU_0", "GPU_1"]
    choice = choose(tree, ["1", "GPU_0"])
    assert [one.name for one in choice.chosen] == ["1"]
    assert "GPU_0 is within another" in choice.skipped[0]


def test_an_unknown_id_is_said_with_those_there_are():
    """A typing error in the setting doesn't pass for a BMC without power."""
    assert "there is no chassis Slef; the BMC has Self" in choose(chassis("Self"), ["Slef"]).why_none
