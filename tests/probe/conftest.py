# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from services.probe.ebpf import cpus, layout
from services.probe.ebpf.pinned import PinnedProgram
from services.probe.ebpf.reader import EbpfReader
from wattline import cgroup2

SYSFS, PROCFS = Path("/sys"), Path("/proc")


def program(**options) -> layout.Program:
    """A small program for this machine."""
    return layout.Program(
        **{"process_rows": 8192, "cgroup_rows": 1024, "cpus": cpus.possible_count(SYSFS), **options}
    )


def load(pin_path: Path, wanted: layout.Program) -> Path:
    """Load a program in a child as the probe does it; where its pins are."""
    pin_path.mkdir(exist_ok=True)
    directory = pin_path / wanted.pin_name
    subprocess.run(
        [
            sys.executable,
            "-m",
            "services.probe.ebpf.load",
            str(directory),
            msgspec.json.encode(wanted).decode(),
        ],
        input=b"attach\n",
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return directory


@pytest.fixture
def load_reader(pin_path: Path) -> Iterator[Callable[..., EbpfReader]]:
    """Loads a program and opens a reader of it; more than once for different ones."""
    opened = []

    def open_reader(undisturbed=(), sysfs=SYSFS, **options) -> EbpfReader:
        wanted = program(**options)
        pinned = PinnedProgram(load(pin_path, wanted), wanted.features, wanted.cpus)
        reader = EbpfReader(pinned, sysfs, PROCFS, undisturbed)
        opened.append(reader)
        return reader

    yield open_reader
    for reader in opened:
        reader.close()


@pytest.fixture
def reader(load_reader: Callable[..., EbpfReader]) -> EbpfReader:
    """The program loaded, and read."""
    return load_reader()


@pytest.fixture
def cgroup2_mount() -> Path:
    """Where the machine's cgroup2 hierarchy is mounted."""
    return cgroup2.find_mount(PROCFS)
