# SPDX-License-Identifier: Apache-2.0
"""Shares by learned costs, against plain ones, on machines whose law is known."""

import random

import numpy as np
import pytest

from services.calculator.model import PowerModel
from services.calculator.rules import Rules

from .desk import Desk
from .paper import ROOT, Paper
from .world import S

NAMES = {"scalar": 10, "vector": 11, "memory": 12, "waiting": 13}
# GHz, instructions per cycle, cache misses per ms of each kind of work.
KINDS = {
    "scalar": (3.0, 2.5, 2),
    "vector": (2.4, 1.2, 10),
    "memory": (3.0, 0.4, 60),
    "waiting": (3.2, 0.2, 1),
}
# Joules per CPU second, 10⁹ cycles, 10⁹ instructions, 10⁶ misses.
LAWS = {
    "by CPU time": (9.0, 0.0, 0.0, 0.0),
    "by cycles": (1.0, 3.0, 0.0, 0.0),
    "by instructions": (2.0, 0.5, 1.5, 0.0),
    "by misses too": (2.0, 1.0, 0.5, 0.12),
}
LEARN_S, MEASURE_S = 240, 120


def errors(law, method, *, counts=True):
    """The largest error of a container's dynamic energy, as a ratio, and what it was shared by."""
    chance = random.Random(7)
    machine = Paper(counts=counts, cpus_per_socket=8)
    for name, cgroup_id in NAMES.items():
        machine.born(cgroup_id, ROOT, name)
    per_cpu_s, per_gcycles, per_ginstructions, per_mmisses = law
    machine.meter("package", "0", 20, per_cpu_s=per_cpu_s, per_gcycles=per_gcycles, per_mmisses=per_mmisses)
    machine.meters[0].nj_per[3] = per_ginstructions
    desk = Desk(Rules(method=method, fixed_idle_uw={"package": 20_000_000}))
    busy = dict.fromkeys(NAMES, 0.5)
    before_uj, before_nj = {}, {}
    for second in range(LEARN_S + MEASURE_S):
        if second % 5 == 0:
            busy = {name: chance.choice((0.1, 0.5, 1.0, 1.8)) for name in NAMES}
        if second == LEARN_S:
            before_uj = dict(desk.dynamic_uj("package"))
            before_nj = dict(machine.truth_nj)
        machine.run(S, {((NAMES[name], 100, 7), 0): (busy[name], *KINDS[name]) for name in NAMES})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
    found_uj = desk.dynamic_uj("package")
    ratios = []
    for name, cgroup_id in NAMES.items():
        true_nj = machine.truth_nj[0, cgroup_id] - before_nj[0, cgroup_id]
        ratios.append(abs((found_uj[name] - before_uj[name]) * 1000 / true_nj - 1))
    return max(ratios), desk.tables()["zones"].share_by[0]


def test_ratio_and_model_in_one_table():
    """Where watts per CPU second differ the learned costs are nearer the truth; elsewhere no worse."""
    print(f"\n{'law':16} {'CPU time':>9} {'cycles':>9} {'model':>9}   largest error of a container")
    for name, law in LAWS.items():
        plain, by_plain = errors(law, "ratio", counts=False)
        cycles, by_cycles = errors(law, "ratio")
        learned, by_learned = errors(law, "model")
        assert (by_plain, by_cycles) == ("cpu_time", "cycles")
        print(f"{name:16} {plain:9.1%} {cycles:9.1%} {learned:9.1%}   shared by {by_learned}")
        assert by_learned == "model"
        assert learned < 0.02
        assert learned <= cycles


def test_it_says_which_is_in_use():
    """While the model has not learned, shares are plain, and the frame says so."""
    machine = Paper(counts=True)
    machine.born(10, ROOT, "a")
    machine.meter("package", "0", 20, per_gcycles=4)
    desk = Desk(Rules(method="model", fixed_idle_uw={"package": 20_000_000}))
    for _second in range(10):
        machine.run(S, {((10, 100, 7), 0): (1.0, 3, 1, 1)})
        for frame in (machine.metadata(), machine.activity(), machine.power()):
            desk.take(frame)
    assert desk.tables()["zones"].share_by == ["cycles"]


def test_without_counters_it_stays_plain():
    """A machine that counts nothing gives no reason to prefer a model of CPU time to CPU time."""
    _error, share_by = errors(LAWS["by cycles"], "model", counts=False)
    assert share_by == "cpu_time"


def test_noise_that_nothing_explains_is_not_learned():
    """A power that has nothing to do with the work is no model's doing: shares stay plain."""
    chance, model = np.random.default_rng(5), PowerModel()
    for _window in range(300):
        amounts = chance.uniform(0, 4e9, 4)
        model.observe(int(chance.uniform(20e6, 200e6)), S, amounts)
    assert not model.has_learned


def test_weights_are_never_negative():
    """Whatever is fed, no work is said to cost less than nothing."""
    chance, model = np.random.default_rng(6), PowerModel()
    for _window in range(200):
        model.observe(int(chance.uniform(0, 1e8)), S, chance.uniform(0, 4e9, 4) * chance.integers(0, 2, 4))
        assert (model.full.weights >= 0).all()
        assert np.isfinite(model.full.weights).all()


def test_it_goes_on_from_its_numbers():
    """What it has learned survives the ledger to the last bit."""
    chance, model = np.random.default_rng(7), PowerModel()
    for _window in range(50):
        model.observe(int(chance.uniform(0, 1e8)), S, chance.uniform(0, 4e9, 4))
    again = PowerModel.from_floats(model.to_floats())
    assert again.to_floats() == model.to_floats()
    with pytest.raises(ValueError, match="expected 74 numbers, got 3"):
        PowerModel.from_floats([1.0, 2.0, 3.0])
