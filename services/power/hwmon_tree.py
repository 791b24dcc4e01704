# SPDX-License-Identifier: Apache-2.0
"""The hwmon chips of a sysfs tree, and the sensors of each that measure power or energy.

A chip is known by its name and its device: hwmonN is given anew at each load of a driver.
Source: Documentation/hwmon/sysfs-interface.rst, Linux 6.1.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from .hwmon_files import optional_text, read_text

_VALUE = re.compile("(energy|power|in)([0-9]{1,4})_(input|average)")


class Figure(IntEnum):
    """What a sensor shows, the best first."""

    ENERGY = 0  # energyN_input, µJ
    AVERAGE = 1  # powerN_average, µW over powerN_average_interval ms
    POWER = 2  # powerN_input, µW
    VOLTS_AND_AMPERES = 3  # inN_input, mV, times currN_input, mA


_FIGURES = {
    ("energy", "input"): Figure.ENERGY,
    ("power", "average"): Figure.AVERAGE,
    ("power", "input"): Figure.POWER,
    ("in", "input"): Figure.VOLTS_AND_AMPERES,
}


@dataclass(frozen=True)
class Chip:
    """`device`: the name of the device that it is part of. `files`: its attributes, wherever they are."""

    name: str
    device: str
    place: Path
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Sensor:
    """One sensor of a chip. `paths`: files whose figures multiply to its own. `faults`: its fault files."""

    chip: Chip
    figure: Figure
    name: str  # power1
    label: str
    paths: tuple[Path, ...]
    interval: Path | None = None
    faults: tuple[Path, ...] = ()


@dataclass
class Chips:
    """What a look at the tree has found. `names`: of all chips. `unreadable`: (hwmonN, why)."""

    chips: list[Chip] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def find_chips(sysfs: Path, is_wanted: Callable[[str], bool]) -> Chips:
    """The chips of wanted names, in the order of their devices."""
    found = Chips()
    directory = sysfs / "class" / "hwmon"
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return found
    except OSError as error:
        found.unreadable.append(("hwmon", f"{directory}: {error.strerror}"))
        return found
    for name in names:
        try:
            chip = _chip(directory / name, is_wanted, found.names)
        except FileNotFoundError:
            continue  # it has just gone
        except (OSError, ValueError) as error:
            reason = f"{directory / name}: {getattr(error, 'strerror', None) or error}"
            found.unreadable.append((name, reason))
            continue
        if chip is not None:
            found.chips.append(chip)
    found.chips.sort(key=lambda chip: (chip.name, chip.device, str(chip.place)))
    return found


def _chip(link: Path, is_wanted: Callable[[str], bool], names: set[str]) -> Chip | None:
    # Its true path has the device in it, so that it never leads to another chip that got the same number.
    place = link.resolve(strict=True)
    device = place / "device"
    # Older drivers put all attributes, even the name, into the device's directory.
    parents = [place, device.resolve()] if device.exists() else [place]
    paths = [parent / "name" for parent in parents if (parent / "name").exists()]
    if not paths:
        return None
    name = read_text(paths[0])
    names.add(name)
    if not is_wanted(name):
        return None
    return chip_of(name, parents)


def chip_of(name: str, parents: list[Path]) -> Chip:
    """A chip whose attributes are in these directories; of two of one name that of the first counts."""
    files: dict[str, Path] = {}
    for parent in reversed(parents):
        files |= {path.name: path for path in parent.iterdir() if not path.is_dir()}
    device = parents[-1].name if len(parents) > 1 else name
    return Chip(name, device, parents[0], files)


def sensors_of(chip: Chip) -> Iterator[Sensor]:
    """A chip's sensors of power and energy, in the order of their names and of preference."""
    found = [(match, path) for file, path in chip.files.items() if (match := _VALUE.fullmatch(file))]
    for match, path in sorted(found, key=lambda one: (int(one[0][2]), one[0][0])):
        kind, number, suffix = match.groups()
        name = f"{kind}{number}"
        figure = _FIGURES.get((kind, suffix))
        parts: tuple[str, ...] = (name, f"curr{number}") if kind == "in" else (name,)
        others = [chip.files.get(f"{part}_input") for part in parts[1:]]
        paths = (path, *(other for other in others if other is not None))
        if figure is None or len(paths) < len(parts):
            continue
        yield Sensor(
            chip,
            figure,
            name,
            _label(chip, parts),
            paths,
            chip.files.get(f"{name}_average_interval") if figure is Figure.AVERAGE else None,
            tuple(chip.files[f"{part}_fault"] for part in parts if f"{part}_fault" in chip.files),
        )


def _label(chip: Chip, parts: tuple[str, ...]) -> str:
    """What the driver or the firmware calls a sensor; empty if it has no name."""
    for part in parts:
        for suffix in ("label", "oem_info"):
            if text := optional_text(chip.files.get(f"{part}_{suffix}")):
                return text
    return ""
