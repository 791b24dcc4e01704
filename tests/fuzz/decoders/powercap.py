# SPDX-License-Identifier: Apache-2.0
"""sysfs as RAPL's reader meets it: zones with readings that fit into a frame, or reasons; never an error."""

from pathlib import Path
from random import Random

from services.power.rapl_sysfs import open_source
from services.power.rapl_zones import find_zones
from services.power.settings import PowerSettings
from services.power.source import Former, table
from tests.fuzz.decoder import BrokenPromiseError, Decoder, Input
from tests.fuzz.mutate import mutated

from .files import damaged, made, write

ROOT = "class/powercap"
RANGE = b"262143328850\n"
ZONES = {
    "intel-rapl:0": b"package-0\n",
    "intel-rapl:0/intel-rapl:0:0": b"core\n",
    "intel-rapl:0/intel-rapl:0:1": b"dram\n",
    "intel-rapl:1": b"package-1-die-0\n",
    "intel-rapl:2": b"psys\n",
}
TREE = {
    f"{ROOT}/{path}/{name}": content
    for path, zone in ZONES.items()
    for name, content in (("name", zone), ("max_energy_range_uj", RANGE), ("energy_uj", b"123456789\n"))
}
WORDS = (
    b"package-", b"-die-", b"psys", b"core", b"dram", b"\n", b" ", b"-", b"_", b"\0", "\u0663".encode(),
    b"\xff",
    b"18446744073709551616", b"9" * 64, b"9" * 4301, b"0", b"+1",
)  # fmt: skip


def make(chance: Random) -> dict[str, bytes]:
    """One more input: a tree, and what its counters read a moment later."""
    tree = damaged(chance, TREE, WORDS)
    if chance.random() < 0.3:
        tree = damaged(chance, tree, WORDS)
    later = {
        f"later/{path}": mutated(chance, [content, b"18446744073709551615\n"], WORDS)
        for path, content in tree.items()
        if path.endswith("energy_uj")
    }
    return tree | later


def powercap(place: Path) -> Decoder:
    root = place / "sysfs"

    def check(data: Input) -> None:
        assert not isinstance(data, bytes)
        tree = {path: content for path, content in data.items() if not path.startswith("later/")}
        later = {path.removeprefix("later/"): content for path, content in data.items() if path not in tree}
        with made(root, tree):
            zones = find_zones(root).zones
            if len({zone.zone for zone in zones}) < len(zones):
                raise BrokenPromiseError(f"a zone twice: {zones}")
            source = open_source(PowerSettings(path_sysfs=root), Former(), 1)
            try:
                for counters in ({}, later, tree):
                    write(root, {path: text for path, text in counters.items() if path.endswith("energy_uj")})
                    rows = table(source.read(1).rows, 1)
                    if any(raw > limit for raw, limit in zip(rows.raw, rows.raw_range, strict=True)):
                        raise BrokenPromiseError(f"a counter beyond its range: {rows}")
            finally:
                source.close()

    return Decoder(make, check)
