# SPDX-License-Identifier: Apache-2.0
"""Resources of BMCs of several makes, with the properties that DMTF's schemas give them (DSP8010 2024.1).

Each layout is a function from a BMC's readings to its resources by path.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

V1 = "/redfish/v1"
CHASSIS = f"{V1}/Chassis"
SYSTEM = f"{V1}/Systems/437"

Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Readings:
    """What a BMC shows. `watts`: the node's input."""

    watts: float
    kwh: float
    reading_time: str = ""

    @property
    def output_watts(self) -> float:
        """After the losses of the supplies."""
        return round(self.watts * 0.9, 3)

    @property
    def joules(self) -> int:
        return round(self.kwh * 3_600_000)


def ref(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def members(*paths: str) -> dict[str, Any]:
    return {"Members": [ref(path) for path in paths], "Members@odata.count": len(paths)}


def chassis(name: str, kind: str = "RackMount", systems: tuple[str, ...] = (SYSTEM,), **more: Any) -> Tree:
    """A chassis; `more`: its other properties, `Links` beside those to systems."""
    links = {"ComputerSystems": [ref(path) for path in systems]} | more.pop("Links", {})
    body = {"Id": name, "Name": name, "ChassisType": kind, "Links": links}
    return {f"{CHASSIS}/{name}": ref(f"{CHASSIS}/{name}") | body | more}


def root(*names: str) -> Tree:
    """The service root and the collection of chassis."""
    return {
        V1: {
            "RedfishVersion": "1.15.0",
            "Chassis": ref(CHASSIS),
            "Links": {"Sessions": ref(f"{V1}/SessionService/Sessions")},
        },
        CHASSIS: members(*(f"{CHASSIS}/{name}" for name in names)),
    }


def environment(readings: Readings, name: str = "Self", *, energy: bool = False) -> Tree:
    """A recent one: all in the chassis' EnvironmentMetrics."""
    path = f"{CHASSIS}/{name}/EnvironmentMetrics"
    metrics: dict[str, Any] = {"PowerWatts": {"Reading": readings.watts}}
    if energy:
        metrics["EnergykWh"] = {"Reading": 0.5, "LifetimeReading": readings.kwh}
    return root(name) | chassis(name, EnvironmentMetrics=ref(path)) | {path: metrics}


def environment_energy(readings: Readings) -> Tree:
    """The same with a counter."""
    return environment(readings, energy=True)


def coarse_energy(readings: Readings) -> Tree:
    """A counter of 0.1 kWh beside the power."""
    tree = environment(readings)
    tree[f"{CHASSIS}/Self/EnvironmentMetrics"]["EnergykWh"] = {"LifetimeReading": round(readings.kwh, 1)}
    return tree


def supplies(readings: Readings) -> Tree:
    """Two supplies of unlike load, each with metrics, and an empty bay."""
    power = f"{CHASSIS}/Self/PowerSubsystem"
    bays = [f"{power}/PowerSupplies/{number}" for number in range(3)]
    tree = root("Self") | chassis("Self", PowerSubsystem=ref(power))
    tree |= {
        power: {"PowerSupplies": ref(f"{power}/PowerSupplies")},
        f"{power}/PowerSupplies": members(*bays),
    }
    for number, share in enumerate((0.75, 0.25)):
        tree[bays[number]] = {"Status": {"State": "Enabled"}, "Metrics": ref(f"{bays[number]}/Metrics")}
        tree[f"{bays[number]}/Metrics"] = {
            "InputPowerWatts": {"Reading": readings.watts * share},
            "OutputPowerWatts": {"Reading": readings.output_watts * share},
            "EnergykWh": {"LifetimeReading": 17.125},
        }
    tree[bays[2]] = {"Status": {"State": "Absent"}}
    return tree


def one_supply(readings: Readings) -> Tree:
    """One supply, whose counter is the node's."""
    power = f"{CHASSIS}/Self/PowerSubsystem"
    bay = f"{power}/PowerSupplies/0"
    tree = root("Self") | chassis("Self", PowerSubsystem=ref(power))
    return tree | {
        power: {"PowerSupplies": ref(f"{power}/PowerSupplies")},
        f"{power}/PowerSupplies": members(bay),
        bay: {"Metrics": ref(f"{bay}/Metrics")},
        f"{bay}/Metrics": {
            "InputPowerWatts": {"Reading": readings.watts},
            "EnergykWh": {"LifetimeReading": readings.kwh},
        },
    }


def outputs_alone(readings: Readings) -> Tree:
    """Supplies that measure only what they give."""
    tree = supplies(readings)
    for path, body in tree.items():
        if path.endswith("/Metrics"):
            del body["InputPowerWatts"]
    return tree


def power(readings: Readings, interval_min: int | None = None) -> Tree:
    """An older one: everything in Power, also the power of the processors as an entry of its own."""
    path = f"{CHASSIS}/1/Power"
    control: dict[str, Any] = {"MemberId": "1", "PowerConsumedWatts": readings.watts}
    if interval_min is not None:
        control["PowerMetrics"] = {
            "IntervalInMin": interval_min,
            "AverageConsumedWatts": readings.watts,
            "MaxConsumedWatts": 900,
        }
        control["PowerConsumedWatts"] = readings.watts + 40
    control["RelatedItem"] = [ref(SYSTEM), ref(f"{CHASSIS}/1")]
    processors = {
        "MemberId": "0",
        "PowerConsumedWatts": 95,
        "PhysicalContext": "CPU",
        "RelatedItem": [ref(SYSTEM)],
    }
    bays = [{"PowerInputWatts": readings.watts / 2, "LastPowerOutputWatts": 1}] * 2
    body = {"PowerControl": [processors, control], "PowerSupplies": bays}
    return root("1") | chassis("1", Power=ref(path)) | {path: body}


def power_average(readings: Readings) -> Tree:
    """A mean of a minute, and a figure of the moment that is another."""
    return power(readings, interval_min=1)


def power_long_average(readings: Readings) -> Tree:
    """A mean of 20 minutes, which is too long."""
    tree = power(readings, interval_min=20)
    tree[f"{CHASSIS}/1/Power"]["PowerControl"][1]["PowerConsumedWatts"] = readings.watts
    tree[f"{CHASSIS}/1/Power"]["PowerControl"][1]["PowerMetrics"]["AverageConsumedWatts"] = 777
    return tree


def power_supplies(readings: Readings) -> Tree:
    """Power without a total."""
    tree = power(readings)
    del tree[f"{CHASSIS}/1/Power"]["PowerControl"]
    return tree


def sensors(readings: Readings, *, energy: bool = False) -> Tree:
    """All in sensors, with times of their own."""
    collection = f"{CHASSIS}/Self/Sensors"
    made = {
        "temp": {"ReadingType": "Temperature", "Reading": 41, "PhysicalContext": "Chassis"},
        "power_cpu": {"ReadingType": "Power", "Reading": 95, "PhysicalContext": "CPU"},
        "power_out": {
            "ReadingType": "Power",
            "Reading": readings.output_watts,
            "PhysicalContext": "Chassis",
            "PhysicalSubContext": "Output",
        },
        "power_total": {"ReadingType": "Power", "Reading": readings.watts, "PhysicalContext": "Chassis"},
    }
    if energy:
        made["energy"] = {
            "ReadingType": "EnergyJoules",
            "Reading": readings.joules,
            "PhysicalContext": "Chassis",
        }
    paths = {f"{collection}/{name}": body for name, body in made.items()}
    for body in paths.values():
        if readings.reading_time:
            body["ReadingTime"] = readings.reading_time
    return root("Self") | chassis("Self", Sensors=ref(collection)) | {collection: members(*paths)} | paths


def sensors_energy(readings: Readings) -> Tree:
    """The same with a counter of joules."""
    return sensors(readings, energy=True)


def supply_sensors(readings: Readings) -> Tree:
    """Sensors of the supplies alone."""
    collection = f"{CHASSIS}/Self/Sensors"
    paths = {}
    for number, share in enumerate((0.5, 0.5)):
        for side, watts in (("Input", readings.watts), ("Output", readings.output_watts)):
            paths[f"{collection}/psu{number}_{side}"] = {
                "ReadingType": "Power",
                "Reading": watts * share,
                "PhysicalContext": "PowerSupply",
                "PhysicalSubContext": side,
            }
    return root("Self") | chassis("Self", Sensors=ref(collection)) | {collection: members(*paths)} | paths


LAYOUTS: dict[str, Callable[[Readings], Tree]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        environment,
        environment_energy,
        coarse_energy,
        supplies,
        one_supply,
        outputs_alone,
        power,
        power_average,
        power_long_average,
        power_supplies,
        sensors,
        sensors_energy,
        supply_sensors,
    )
}
