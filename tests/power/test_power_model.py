# SPDX-License-Identifier: Apache-2.0
"""Model files that can be power, the formula that makes energy of them, and the one that is shipped."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power.estimator import MODEL
from services.power.power_model import ZONES, Curve, decode

S = 1_000_000_000
PPM = 1_000_000

shipped = decode(MODEL.read_bytes())
curves = {name: Curve(shipped.zones[name].knots, shipped.machine.cpu_count) for name in ZONES}

cpu_counts = st.integers(1, 1024)
times_ns = st.integers(1, 3600 * S)


def energy_uj(curve, busy_ns, capacity_ns) -> Fraction:
    return Fraction(curve.energy_parts(busy_ns, capacity_ns), curve.parts_per_uj)


def power_w(curve, utilisation) -> float:
    return float(energy_uj(curve, round(utilisation * 32 * S), 32 * S)) / 1e6


@given(times_ns, cpu_counts, st.fractions(0, 1))
def test_platform_holds_package_and_dram_at_any_utilisation_of_any_machine(elapsed_ns, cpus, utilisation):
    """An estimate whose whole is less than its parts would be a contradiction."""
    capacity_ns = elapsed_ns * cpus
    busy_ns = int(utilisation * capacity_ns)
    package, dram, platform = (energy_uj(curves[name], busy_ns, capacity_ns) for name in ZONES)
    assert platform >= package + dram


@given(cpu_counts, times_ns, st.fractions(0, 1), st.fractions(0, 1))
def test_more_use_never_means_less_power(cpus, elapsed_ns, one, other):
    """Each zone's power rises or stays with utilisation."""
    less, more = sorted((one, other))
    capacity_ns = elapsed_ns * cpus
    for curve in curves.values():
        assert energy_uj(curve, int(less * capacity_ns), capacity_ns) <= energy_uj(
            curve, int(more * capacity_ns), capacity_ns
        )


@given(cpu_counts, times_ns)
def test_a_machine_gets_its_share_by_number_of_cpus(cpus, elapsed_ns):
    """A guest of 2 CPUs has a sixteenth of the power of 32 at the same utilisation."""
    for curve in curves.values():
        whole = energy_uj(curve, elapsed_ns * 32 // 2, elapsed_ns * 32)
        assert energy_uj(curve, elapsed_ns * cpus // 2, elapsed_ns * cpus) == pytest.approx(
            float(whole * cpus / 32), rel=1e-6, abs=1
        )


@given(
    st.lists(st.tuples(st.integers(0, 100), times_ns), min_size=1, max_size=20),
    st.integers(0, 200 * PPM),
    st.integers(0, 200 * PPM),
)
def test_a_linear_model_does_not_care_how_time_is_split(stretches, idle_uw, more_uw):
    """Many short stretches give exactly what one of their sums gives."""
    curve = Curve([(0, idle_uw), (PPM, idle_uw + more_uw)], 32)
    parts = sum(curve.energy_parts(ns * percent // 100, ns) for percent, ns in stretches)
    busy_ns = sum(ns * percent // 100 for percent, ns in stretches)
    assert parts == curve.energy_parts(busy_ns, sum(ns for _percent, ns in stretches))


def test_energy_is_power_times_time():
    """At 100 and 200 W on 32 CPUs: half used for 10 s is 1500 J; on 2 CPUs a sixteenth of it."""
    curve = Curve([(0, 100 * PPM), (PPM, 200 * PPM)], 32)
    assert energy_uj(curve, 160 * S, 320 * S) == 1_500 * PPM
    assert energy_uj(curve, 10 * S, 20 * S) == 1_500 * PPM // 16


@pytest.mark.parametrize(
    ("utilisation", "expected_w"), [(0, 10), (0.125, 20), (0.25, 30), (0.625, 35), (1, 40)]
)
def test_power_is_straight_between_knots(utilisation, expected_w):
    """A polygon through its knots."""
    curve = Curve([(0, 10 * PPM), (250_000, 30 * PPM), (PPM, 40 * PPM)], 32)
    assert power_w(curve, utilisation) == expected_w


def document(**changes):
    """A model file with the zones' knots replaced."""
    flat = {"package": [[0, 10], [PPM, 20]], "dram": [[0, 5], [PPM, 6]], "platform": [[0, 20], [PPM, 40]]}
    error = {"mean_absolute_error_w": 1.0, "mean_absolute_ratio": 0.25}
    return {
        "model": "m",
        "machine": {"name": "m", "cpu_count": 4},
        "zones": {
            name: {"knots": knots, "held_out": error} for name, knots in (flat | changes).items() if knots
        },
    }


def test_a_good_file_is_taken():
    """Its known error comes along, in ppm."""
    assert decode(json.dumps(document()).encode()).error_ratio_ppm("dram") == 250_000


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dram": None}, "expected the zones package, dram, platform"),
        ({"package": [[0, 10], [PPM, 9]]}, "power that never falls"),
        ({"package": [[0, 10], [900_000, 20]]}, "rising from 0 to 1000000"),
        ({"package": [[1, 10], [PPM, 20]]}, "rising from 0 to 1000000"),
        ({"package": [[0, 10], [0, 11], [PPM, 20]]}, "rising from 0 to 1000000"),
        ({"package": [[0, -1], [PPM, 20]]}, "not a power model"),
        ({"package": [[0, 10]]}, "not a power model"),
        # Consistent at both ends, and not in the middle
        ({"package": [[0, 10], [500_000, 29], [PPM, 30]]}, "at 500000 ppm utilisation: expected platform"),
    ],
)
def test_files_that_cant_be_power_are_refused(changes, complaint):
    """Each with a reason that says what was expected."""
    with pytest.raises(ValueError, match=complaint):
        decode(json.dumps(document(**changes)).encode())


def test_the_shipped_model_tells_where_it_comes_from():
    """Origin, machine, columns, errors on unseen blocks, method, and the assumed number of CPUs."""
    file = json.loads(MODEL.read_text(encoding="utf-8"))
    assert file["license"] == "Apache-2.0"
    assert "kepler-model-db" in file["data"]["origin"]
    assert file["machine"]["cpu_count_is"].startswith("assumed")
    assert file["data"]["feature"]["column"] == "bpf_cpu_time_us"
    assert "blocks" in file["fit"]["held_out"]
    assert {tried["form"] for tried in file["fit"]["forms_tried"]} >= {"linear", "concave"}
    for zone in file["zones"].values():
        assert zone["held_out"]["mean_absolute_error_w"] > 0
        assert 0 < zone["held_out"]["mean_absolute_ratio"] < 1


def test_the_shipped_model_is_sane_at_idle_and_when_full():
    """A two-socket server: some 30 W idle to 150 W in its packages, 175 to 325 W in all."""
    assert 25 < power_w(curves["package"], 0) < 40
    assert 120 < power_w(curves["package"], 1) < 200
    assert 160 < power_w(curves["platform"], 0) < 190
    assert 280 < power_w(curves["platform"], 1) < 400
