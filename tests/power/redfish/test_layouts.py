# SPDX-License-Identifier: Apache-2.0
"""Each layout's right figure, and which of several is taken."""

import json

import pytest

from services.power.channel import Kind
from services.power.redfish_bmc.look import Look
from services.power.redfish_bmc.resource import decode

from ..world import S
from .shapes import CHASSIS, LAYOUTS, V1, Readings, chassis, environment, power, ref, root, supplies

PERIOD_NS = 30 * S
SHOWN = Readings(watts=212.5, kwh=1234.567)
IN_UW, OUT_UW = 212_500_000, 191_250_000
LIFETIME_UJ = 1_234_567 * 3_600_000_000


def decoded(tree):
    """As it comes over the network."""
    return {path: decode(json.dumps(body).encode()) for path, body in tree.items()}


def sight(tree, wanted=()):
    return Look(wanted, PERIOD_NS).go_on(decoded(tree).get)


@pytest.mark.parametrize(
    ("layout", "name", "kind", "value", "averaged_s"),
    [
        ("environment", "Self", Kind.GAUGE, IN_UW, 0),
        ("environment-energy", "Self", Kind.COUNTER, LIFETIME_UJ, 0),
        ("coarse-energy", "Self", Kind.GAUGE, IN_UW, 0),
        ("supplies", "Self", Kind.GAUGE, IN_UW, 0),
        ("one-supply", "Self", Kind.COUNTER, LIFETIME_UJ, 0),
        ("outputs-alone", "Self", Kind.GAUGE, OUT_UW, 0),
        ("power", "1", Kind.GAUGE, IN_UW, 0),
        ("power-average", "1", Kind.GAUGE, IN_UW, 60),
        ("power-long-average", "1", Kind.GAUGE, IN_UW, 0),
        ("power-supplies", "1", Kind.GAUGE, IN_UW, 0),
        ("sensors", "Self", Kind.GAUGE, IN_UW, 0),
        ("sensors-energy", "Self", Kind.COUNTER, 1_234_567 * 3600 * 1_000_000, 0),
        ("supply-sensors", "Self", Kind.GAUGE, IN_UW, 0),
    ],
)
def test_each_layouts_figure(layout, name, kind, value, averaged_s):
    """The node's input, as energy if there is a fine counter; output only where there is nothing else."""
    tree = LAYOUTS[layout](SHOWN)
    seen = sight(tree)
    assert list(seen.meters) == [name]
    meter = seen.meters[name]
    assert (meter.kind, meter.averaged_ns) == (kind, averaged_s * S)
    assert meter.read(decoded(tree)).value == value


def test_every_layout_is_in_the_table():
    """The table above has all layouts that the fake BMC knows."""
    (mark,) = test_each_layouts_figure.pytestmark
    assert {row[0] for row in mark.args[1]} == set(LAYOUTS)


@pytest.mark.parametrize(
    ("lifetime", "reading", "taken"),
    [(1.234, 0.5, "LifetimeReading"), (None, 0.125, "Reading"), (12, 0.125, "Reading"), (12, 1, "Reading")],
)
def test_which_energy(lifetime, reading, taken):
    """The figure that is never reset, if it is there and fine; a coarse one only without any power."""
    tree = environment(SHOWN)
    path = f"{CHASSIS}/Self/EnvironmentMetrics"
    tree[path] = {"EnergykWh": {"LifetimeReading": lifetime, "Reading": reading}}
    if taken == "Reading" and reading == 1:
        taken = "LifetimeReading"  # both coarse: the first one
    assert sight(tree).meters["Self"].terms[0].keys == ("EnergykWh", taken)


def test_a_supply_without_its_figure_spoils_the_sum():
    """A sum that lacks a supply in use is no figure at all: the next best is taken."""
    tree = supplies(SHOWN)
    metrics = f"{CHASSIS}/Self/PowerSubsystem/PowerSupplies/1/Metrics"
    tree[metrics]["InputPowerWatts"] = {"Reading": None}
    assert sight(tree).meters["Self"].what == "output power of 2 power supplies"


def test_several_counters_are_not_summed():
    """A supply that is put in would look like energy, so the supplies' power is taken."""
    assert sight(supplies(SHOWN)).meters["Self"].kind is Kind.GAUGE


def test_a_processors_entry_is_not_the_nodes():
    """The entry of PowerControl that is about the system counts, wherever it stands."""
    assert sight(power(SHOWN)).meters["1"].terms[0].keys == ("PowerControl", 1, "PowerConsumedWatts")


def test_sensors_are_left_alone_where_there_is_another_figure():
    """There may be a hundred of them."""
    tree = environment(SHOWN)
    tree[f"{CHASSIS}/Self"]["Sensors"] = ref(f"{CHASSIS}/Self/Sensors")
    asked = []

    def get(path):
        asked.append(path)
        return decoded(tree).get(path)

    Look((), PERIOD_NS).go_on(get)
    assert f"{CHASSIS}/Self/Sensors" not in asked


def test_a_look_that_is_cut_short_goes_on():
    """What has been seen is not asked for again, so that a slow BMC is seen through in the end."""
    tree, asked = decoded(supplies(SHOWN)), []

    def get(path):
        if len(asked) % 3 == 2:
            asked.append("")
            raise TimeoutError
        asked.append(path)
        return tree.get(path)

    look, tries = Look((), PERIOD_NS), 0
    while True:
        tries += 1
        try:
            seen = look.go_on(get)
            break
        except TimeoutError:
            continue
    assert tries > 2
    assert "Self" in seen.meters
    paths = [path for path in asked if path]
    assert len(paths) == len(set(paths))


def test_nothing_to_read_is_said():
    """A BMC without power, and one without Redfish, each with its reason."""
    assert "neither power nor energy" in sight(root("Self") | chassis("Self")).why_none
    assert "no Redfish service root" not in sight(root("Self") | chassis("Self")).why_none
    assert sight({V1: {}}).why_none
