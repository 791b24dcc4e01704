# SPDX-License-Identifier: Apache-2.0
"""Where the makers of BMCs put a chassis' power and energy, and which of these is used. Pure.

The resources and their properties: DMTF DSP8010 2024.1, schemas Chassis, EnvironmentMetrics, PowerSubsystem,
PowerSupply, PowerSupplyMetrics, Sensor and Power.
"""

from collections.abc import Iterator, Sequence

from ..channel import Kind
from . import figures
from .chassis import Candidate
from .figure import Meter, Term, duration_ns, is_fine, is_readable, minutes_ns
from .resource import Resources, at, is_in_use, link, links, numbered, text_at

# An average over a longer time than so many periods blurs more than readings of the moment miss.
_AVERAGE_PERIODS_MAX = 4
_ENERGY_UNITS = {  # by a sensor's ReadingType
    "EnergyJoules": figures.UJ_PER_J,
    "EnergyWh": figures.UJ_PER_KWH // 1000,
    "EnergykWh": figures.UJ_PER_KWH,
}
_WHOLE = ("Chassis", "PowerSubsystem")  # PhysicalContext of sensors for all of a chassis


def wanted(candidate: Candidate, resources: Resources) -> list[str]:
    """The paths that are yet to be fetched before `choose`, in order; empty if that is all."""
    chassis = resources.get(candidate.path)
    paths = [link(chassis, name) for name in ("EnvironmentMetrics", "PowerSubsystem", "Power")]
    supplies = link(resources.get(link(chassis, "PowerSubsystem")), "PowerSupplies")
    members = links(resources.get(supplies), "Members")
    paths += [supplies, *members, *(link(resources.get(one), "Metrics") for one in members)]
    missing = _missing(paths, resources)
    if missing or any(is_readable(one, resources) for one in _without_sensors(candidate, resources, 0)):
        return missing
    # There may be a hundred sensors, so they are only looked at where there is nothing else.
    sensors = link(chassis, "Sensors")
    return _missing([sensors, *_by_name(links(resources.get(sensors), "Members"))], resources)


def choose(candidate: Candidate, resources: Resources, period_ns: int) -> Meter | None:
    """The best meter of a chassis: a fine counter, else power, else a coarse counter; None without any."""
    meters = [
        *_without_sensors(candidate, resources, period_ns),
        *_sensors(candidate, resources),
    ]
    readable = [meter for meter in meters if is_readable(meter, resources)]
    counters = [meter for meter in readable if meter.kind is Kind.COUNTER]
    fine = [meter for meter in counters if is_fine(meter, resources)]
    powers = [meter for meter in readable if meter.kind is Kind.GAUGE]
    # Input before output: the node's losses in its supplies are its own.
    powers.sort(key=lambda meter: "output" in meter.what)
    return next(iter((*fine, *powers, *counters)), None)


def _missing(paths: Sequence[str], resources: Resources) -> list[str]:
    return [path for path in dict.fromkeys(paths) if path and path not in resources]


def _by_name(paths: Sequence[str]) -> list[str]:
    """Only sensors that may be of power or energy, if any are named so."""
    likely = [path for path in paths if any(word in path.lower() for word in ("power", "energy", "watt"))]
    return likely or list(paths)


def _without_sensors(candidate: Candidate, resources: Resources, period_ns: int) -> Iterator[Meter]:
    yield from _environment(candidate, resources)
    yield from _supplies(candidate, resources)
    yield from _power(candidate, resources, period_ns)


def _energy(path: str, keys: tuple[str, ...], unit_uj: int, stamp: tuple[str, ...] = ()) -> Iterator[Meter]:
    """Both figures of an energy: the one that is never reset first."""
    for name in ("LifetimeReading", "Reading"):
        term = Term(path, (*keys, name), stamp)
        yield Meter(Kind.COUNTER, (term,), f"energy ({name})", unit_uj)


def _environment(candidate: Candidate, resources: Resources) -> Iterator[Meter]:
    path = link(resources.get(candidate.path), "EnvironmentMetrics")
    if path:
        yield from _energy(path, ("EnergykWh",), figures.UJ_PER_KWH)
        yield Meter(Kind.GAUGE, (Term(path, ("PowerWatts", "Reading")),), "input power of the chassis")


def _supplies(candidate: Candidate, resources: Resources) -> Iterator[Meter]:
    subsystem = resources.get(link(resources.get(candidate.path), "PowerSubsystem"))
    members = links(resources.get(link(subsystem, "PowerSupplies")), "Members")
    in_use = [path for path in members if resources.get(path) is not None and is_in_use(resources.get(path))]
    metrics = [link(resources.get(path), "Metrics") for path in in_use]
    if not metrics or not all(metrics):
        return
    # The sum of several counters would take a supply that is put in for energy.
    if len(metrics) == 1:
        yield from _energy(metrics[0], ("EnergykWh",), figures.UJ_PER_KWH)
    for side in ("Input", "Output"):
        terms = tuple(Term(path, (f"{side}PowerWatts", "Reading")) for path in metrics)
        yield Meter(Kind.GAUGE, terms, f"{side.lower()} power of {len(terms)} power supplies")


def _power(candidate: Candidate, resources: Resources, period_ns: int) -> Iterator[Meter]:
    path = link(resources.get(candidate.path), "Power")
    resource = resources.get(path)
    place = _control(candidate, resources)
    if place is not None:
        metrics = ("PowerControl", place, "PowerMetrics")
        interval_ns = minutes_ns(at(resource, (*metrics, "IntervalInMin")))
        mean = Meter(
            Kind.GAUGE,
            (Term(path, (*metrics, "AverageConsumedWatts")),),
            f"mean input power of {interval_ns / 1e9:.0f} s",
            averaged_ns=interval_ns,
        )
        now = Meter(
            Kind.GAUGE,
            (Term(path, ("PowerControl", place, "PowerConsumedWatts")),),
            "input power of the chassis",
        )
        is_short = interval_ns <= _AVERAGE_PERIODS_MAX * period_ns
        yield from ((mean, now) if is_short else (now, mean)) if interval_ns else (now,)
    in_use = [number for number, one in numbered(resource, "PowerSupplies") if is_in_use(one)]
    for name, side in (("PowerInputWatts", "input"), ("LastPowerOutputWatts", "output")):
        if in_use:
            terms = tuple(Term(path, ("PowerSupplies", number, name)) for number in in_use)
            yield Meter(Kind.GAUGE, terms, f"{side} power of {len(terms)} power supplies")


def _control(candidate: Candidate, resources: Resources) -> int | None:
    """The entry of PowerControl for all of the chassis; others may be for processors or other nodes."""
    path = link(resources.get(candidate.path), "Power")
    entries = dict(numbered(resources.get(path), "PowerControl"))
    whole = (*candidate.systems, candidate.path)
    for number, entry in entries.items():
        if set(links(entry, "RelatedItem")) & set(whole) and text_at(entry, "PhysicalContext") in (
            "",
            "Chassis",
        ):
            return number
    unrelated = [number for number, entry in entries.items() if not links(entry, "RelatedItem")]
    return next(iter(unrelated or entries), None)


def _sensors(candidate: Candidate, resources: Resources) -> Iterator[Meter]:
    collection = link(resources.get(candidate.path), "Sensors")
    paths = [path for path in links(resources.get(collection), "Members") if is_in_use(resources.get(path))]
    of = {path: text_at(resources.get(path), "PhysicalContext") for path in paths if resources.get(path)}
    kind = {path: text_at(resources.get(path), "ReadingType") for path in of}
    side = {path: text_at(resources.get(path), "PhysicalSubContext") for path in of}
    whole = [path for path in of if of[path] in _WHOLE and side[path] != "Output"]
    for path in whole:
        if kind[path] in _ENERGY_UNITS:
            yield from _energy(path, (), _ENERGY_UNITS[kind[path]], ("ReadingTime",))
    for path in whole:
        if kind[path] == "Power":
            averaged_ns = duration_ns(text_at(resources.get(path), "AveragingInterval"))
            yield Meter(Kind.GAUGE, (_reading(path),), "input power of the chassis", averaged_ns=averaged_ns)
    for name in ("Input", "Output"):
        # A supply's sensor that doesn't say which side it is on is one of its input.
        sides = ("Input", "") if name == "Input" else ("Output",)
        some = [
            path for path in of if of[path] == "PowerSupply" and kind[path] == "Power" and side[path] in sides
        ]
        if some:
            terms = tuple(_reading(path) for path in some)
            yield Meter(Kind.GAUGE, terms, f"{name.lower()} power of {len(terms)} power supplies")


def _reading(path: str) -> Term:
    return Term(path, ("Reading",), ("ReadingTime",))
