# SPDX-License-Identifier: Apache-2.0
"""Energy from hwmon chips: those of the rules in chip_rules.py, and those of the user's rules."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from wattline.wire.frames import UNREADABLE

from . import chip_rules
from .channel import Found, first_few
from .chip_rules import Rule, instance_of
from .chip_rules_file import load_rules
from .hwmon_read import Channels, package_of_node
from .hwmon_tree import Chip, Chips, Sensor, find_chips, sensors_of
from .metered import Metered
from .needs import Needs
from .settings import PowerSettings
from .source import MEASURED, Absent, Former, Source, Zone

SOURCE = chip_rules.HWMON


def open_source(settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """The zones that hwmon chips measure, also those that come later. Raises Fatal for wrong rules."""
    return open_rules(SOURCE, settings, former, now_ns)


def needs(_settings: PowerSettings) -> Needs:
    """The energy files of amd_energy are root's, mode 0440 (drivers/hwmon/amd_energy.c); others anybody's."""
    return Needs(capabilities=("CAP_DAC_READ_SEARCH",))


def open_rules(source: str, settings: PowerSettings, former: Former, now_ns: int) -> Source:
    """A source that is nothing but its rules."""
    rules = load_rules(settings.hwmon_rules)
    return Metered(source, Finder(source, rules, settings).find, former, now_ns)


class Candidate(NamedTuple):
    """A sensor that a rule gives to a zone; of several the lowest counts.

    `rule`: its place in the table. `figure`: as of hwmon_tree.Figure.
    """

    rule: int
    figure: int
    sensor: Sensor

    def is_rival(self, best: "Candidate") -> bool:
        """True if nothing makes the best one better: equal by rule and figure, or a rule's other chip."""
        is_other_chip = self.sensor.chip.place != best.sensor.chip.place
        return self.rule == best.rule and (self.figure == best.figure or is_other_chip)


class Finder:
    """Discovery of the zones of one source among the hwmon chips."""

    def __init__(self, source: str, rules: Sequence[Rule], settings: PowerSettings) -> None:
        self._source = source
        self._rules = rules
        self._sysfs = settings.path_sysfs
        self._wanted = chip_rules.names(rules, source)
        self._channels = Channels(settings.interval_ns)
        self._served: dict[Zone, int] = {}  # the rule that a zone has been measured by

    def find(self) -> Found:
        """The channels that there are now; a sensor that is still there keeps its channel."""
        chips = find_chips(self._sysfs, self._wanted.__contains__)
        found = Found()
        found.unreadable = [
            Absent(self._source, "", place, UNREADABLE, reason) for place, reason in chips.unreadable
        ]
        offered = self._offered(chips, found)
        chosen = {zone: self._choose(zone, candidates, found) for zone, candidates in offered.items()}
        self._channels.place({zone: one for zone, one in chosen.items() if one is not None}, found)
        found.why_none = self._why_none(chips)
        return found

    def _offered(self, chips: Chips, found: Found) -> dict[Zone, list[Candidate]]:
        offered: dict[Zone, list[Candidate]] = {}
        for chip in chips.chips:
            for number, rule, sensor, label_number in matches(self._rules, chip):
                if rule.source != self._source or rule.zone == chip_rules.NONE:
                    continue
                try:
                    index = index_of(rule, chip.device, label_number, self._sysfs)
                except ValueError as error:
                    _skip(found, f"{sensor.paths[0]}: {error}")
                    continue
                zone = Zone(rule.zone, index, self._source, MEASURED)
                offered.setdefault(zone, []).append(Candidate(number, sensor.figure, sensor))
        return offered

    def _choose(self, zone: Zone, candidates: list[Candidate], found: Found) -> Sensor | None:
        """The sensor that measures a zone.

        A zone stays with its rule while this process lives: another rule's sensor measures something else,
        and must not continue its total.
        """
        served = self._served.get(zone)
        if served is not None:
            left = [one for one in candidates if one.rule == served]
            if not left:
                _skip(
                    found, f"{zone}: {candidates[0].sensor.paths[0]} is another meter than before: not used"
                )
                return None
            candidates = left
        best = min(candidates, key=lambda one: one[:2])
        rivals = [one for one in candidates if one.is_rival(best)]
        if len(rivals) > 1:
            places = first_few([str(one.sensor.paths[0]) for one in rivals])
            _skip(
                found,
                f"{zone}: expected one sensor, got {places}: write rules with device or sensor for them",
            )
            return None
        self._served[zone] = best.rule
        return best.sensor

    def _why_none(self, chips: Chips) -> str:
        directory = self._sysfs / "class" / "hwmon"
        wanted = ", ".join(sorted(self._wanted))
        got = ", ".join(sorted(chips.names)) or "none"
        return f"{directory}: expected a sensor of a chip among {wanted}, got chips {got}"


def matches(rules: Sequence[Rule], chip: Chip) -> Iterator[tuple[int, Rule, Sensor, str]]:
    """(rule's place, rule, sensor, number in its label) for each sensor with its first matching rule."""
    for sensor in sensors_of(chip):
        for place, rule in enumerate(rules):
            number = rule.match(chip.name, chip.device, sensor.name, sensor.label)
            if number is not None:
                yield place, rule, sensor, number
                break


def index_of(rule: Rule, device: str, label_number: str, sysfs: Path) -> str:
    """The index of a zone by its rule's template. Raises ValueError if the tree lacks it."""
    index = rule.index_template
    if "{package}" in index:
        index = index.replace("{package}", package_of_node(sysfs, int(label_number)))
    return (
        index.replace("{n}", label_number)
        .replace("{instance}", instance_of(device))
        .replace("{device}", device)
    )


def _skip(found: Found, text: str) -> None:
    found.skipped = [*found.skipped, text]
