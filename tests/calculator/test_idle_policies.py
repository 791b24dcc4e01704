# SPDX-License-Identifier: Apache-2.0
"""Idle energy by each policy, and where idle power comes from."""

import pytest

from services.calculator.rules import Rules, parse_idle_power

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S

A, B = "a" * 64, "b" * 64
IDLE_W, SECONDS = 20, 10
FIXED = {"package": IDLE_W * 1_000_000}


def run(policy, requests_m=None, work=None, seconds=SECONDS, **rules):
    """A has one process and B three; each of B's uses as much as A's."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, A)
    machine.born(11, ROOT, B)
    machine.requests_m = requests_m or {}
    machine.meter("package", "0", IDLE_W, per_cpu_s=8)
    desk, watch = Desk(Rules(idle_policy=policy, fixed_idle_uw=FIXED, **rules)), Watch()
    for _second in range(seconds):
        everybody = [(10, 100, 7), (11, 101, 7), (11, 102, 7), (11, 103, 7)]
        machine.run(S, work or {(process, 0): (0.25, 1, 1, 0) for process in everybody})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            if desk.take(frame):
                watch.check(desk.tables())
    return desk


IDLE_UJ = IDLE_W * SECONDS * 1_000_000


def test_node_leaves_it_with_the_node():
    """Nobody is given any, and it has a reason."""
    desk = run("node")
    assert sum(desk.idle_uj("package").values()) == 0
    assert desk.left_uj("package", mode="idle") == {"idle_policy": IDLE_UJ}


def test_even_is_alike_by_container():
    """However many processes a container has."""
    desk = run("even")
    assert desk.idle_uj("package") == pytest.approx({A: IDLE_UJ / 2, B: IDLE_UJ / 2}, abs=SECONDS)
    assert desk.left_uj("package", mode="idle") == {}


def test_usage_is_by_what_they_used():
    """As dynamic energy goes."""
    desk = run("usage")
    assert desk.idle_uj("package") == pytest.approx({A: IDLE_UJ / 4, B: IDLE_UJ * 3 / 4}, abs=SECONDS)


def test_requests_is_by_what_was_promised():
    """By CPU requests alone; who has none is given none."""
    desk = run("requests", {A: 1500, B: 500})
    assert desk.idle_uj("package") == pytest.approx({A: IDLE_UJ * 3 / 4, B: IDLE_UJ / 4}, abs=SECONDS)
    desk = run("requests", {B: 500})
    assert desk.idle_uj("package") == {A: 0, B: IDLE_UJ}


def test_a_container_with_a_machine_in_it_weighs_once():
    """What a container was promised is shared by it and its virtual machines."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, A)
    machine.born(11, ROOT, B)
    machine.born(12, ROOT, A, "", "vm-1")
    machine.requests_m = {A: 1000, B: 1000}
    machine.meter("package", "0", IDLE_W)
    desk = Desk(Rules(idle_policy="requests", fixed_idle_uw=FIXED))
    for _second in range(SECONDS):
        machine.run(S, {((cgroup, 90 + cgroup, 7), 0): (0.1, 1, 1, 0) for cgroup in (10, 11, 12)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
    assert desk.idle_uj("package") == pytest.approx({A: IDLE_UJ / 2, B: IDLE_UJ / 2}, abs=SECONDS)


def test_requests_that_nobody_has_leave_it_with_the_node():
    """Without any request there is nothing to go by."""
    desk = run("requests")
    assert desk.left_uj("package", mode="idle") == {"no_requests": IDLE_UJ}


def test_alike_within_a_container():
    """A container's idle energy is split alike among its processes, to the microjoule."""
    desk = run("even", seconds=1)
    idle_uj = sorted(desk.tables()["processes"].idle_uj[0])
    assert sum(idle_uj) == IDLE_W * 1_000_000
    assert idle_uj == [3_333_333, 3_333_333, 3_333_334, 10_000_000]


def test_idle_power_can_be_set():
    """A zone's idle power is the one that was set, and says so."""
    desk = run("node")
    zones = desk.tables()["zones"]
    assert (zones.idle_method, zones.idle_power_uw.tolist(), zones.idle_doubt_uw.tolist()) == (
        ["fixed"],
        [IDLE_W * 1_000_000],
        [0],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learned", ("learned", {})),
        ("observed-min", ("observed-min", {})),
        ("package=12.5", ("learned", {"package": 12_500_000})),
        ("dram-1=3, package=0, observed-min", ("observed-min", {"dram-1": 3_000_000, "package": 0})),
    ],
)
def test_the_setting_is_understood(text, expected):
    """A method, or watts by zone, or both."""
    assert parse_idle_power(text) == expected


@pytest.mark.parametrize("text", ["pakage=12", "dram1=3"])
def test_a_zone_that_there_is_not_is_refused(text):
    """A mistyped zone would else be learned in silence."""
    with pytest.raises(ValueError, match=r"there is no zone .* package, .* did you mean"):
        parse_idle_power(text)


@pytest.mark.parametrize("text", ["", "package", "package=", "package=-1", "package=nan", "=3", "dram=1e99"])
def test_a_wrong_setting_is_refused(text):
    """The error quotes what it could not understand."""
    with pytest.raises(ValueError, match="is neither a method nor ZONE=WATTS"):
        parse_idle_power(text)


def test_one_of_several_zones_can_be_set():
    """A name with an index goes before the name alone."""
    rules = Rules(fixed_idle_uw={"package": 1, "package-1": 2})
    assert (rules.fixed_uw("package", "0"), rules.fixed_uw("package", "1"), rules.fixed_uw("dram", "0")) == (
        1,
        2,
        None,
    )


def test_idle_power_is_right_a_minute_after_load_begins_to_vary():
    """Started at full load it is provisional, with the doubt published; then it is learned within 2 %."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, A)
    machine.meter("package", "0", IDLE_W, per_cpu_s=8)
    desk = Desk(Rules())

    def second(cpus):
        machine.run(S, {((10, 100, 7), 0): (cpus, 1, 1, 0)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)

    for _second in range(300):
        second(4.0)
    zones = desk.tables()["zones"]
    assert zones.idle_method == ["provisional"]
    assert zones.idle_power_uw[0] + zones.idle_doubt_uw[0] >= IDLE_W * 1_000_000
    for number in range(60):
        second(1.0 + number * 7 % 30 / 10)
    zones = desk.tables()["zones"]
    assert zones.idle_method == ["learned"]
    assert zones.idle_power_uw[0] == pytest.approx(IDLE_W * 1_000_000, rel=0.02)
