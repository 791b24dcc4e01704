# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.probe import layout
from services.probe.read_maps import PinnedMaps

ROWS = (4096, 1024)


def load(pin_path: Path, process_rows: int, cgroup_rows: int) -> Path:
    """Load the program with tables of a size, in a child as the probe does it; where its pins are."""
    pin_path.mkdir(exist_ok=True)
    directory = pin_path / layout.pin_name(process_rows, cgroup_rows)
    subprocess.run(
        [sys.executable, "-m", "services.probe.load", str(directory), str(process_rows), str(cgroup_rows)],
        check=True,
        timeout=60,
    )
    return directory


@pytest.fixture
def load_maps(pin_path: Path) -> Iterator[Callable[..., PinnedMaps]]:
    """Loads the program and opens its maps; more than once for tables of different sizes."""
    opened = []

    def open_maps(process_rows: int = ROWS[0], cgroup_rows: int = ROWS[1]) -> PinnedMaps:
        directory = load(pin_path, process_rows, cgroup_rows)
        maps = PinnedMaps(directory, process_rows, cgroup_rows)
        opened.append(maps)
        return maps

    yield open_maps
    for maps in opened:
        maps.close()


@pytest.fixture
def maps(load_maps: Callable[..., PinnedMaps]) -> PinnedMaps:
    """The program loaded and its maps opened."""
    return load_maps()
