# SPDX-License-Identifier: Apache-2.0
"""The power service against a meter whose true energy is known, to the microjoule."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.power.loop import PowerStage
from services.power.settings import PowerSettings
from tests.machine.simulated_rapl import SimulatedRapl
from wattline.wire.bus import read_last
from wattline.wire.frames import Power
from wattline.wire.rundir import ServiceDirectory

from .world import FakeRuntime, rows

RANGE_UJ = 65_532_610_987
# Two sockets and psys; package 0 and the dram of package 1 wrap some milliseconds after the start.
CONFIG = {
    "sockets": 2,
    "psys": True,
    "zones": {
        "package-0": {"start_raw_uj": RANGE_UJ - 300_000, "range_uj": RANGE_UJ},
        "package-1/dram": {"start_raw_uj": RANGE_UJ - 100_000, "range_uj": RANGE_UJ},
    },
}
_DEADLINE_S = 20.0


def truth_uj(rapl) -> dict[tuple[str, str], int]:
    """What truly flowed from each zone's first reading to its last, by the names that Wattline gives it."""
    found = {}
    for key, log in rapl.log().items():
        package, _, subzone = key.partition("/")
        zone = ("psys", "psys") if key == "psys" else (subzone or "package", package.removeprefix("package-"))
        found[zone] = log["energy_uj"]
        if key == "psys":
            found["platform", "psys"] = log["energy_uj"]  # made of the same row
    return found


def energy_uj(frame) -> dict[tuple[str, str], int]:
    return {zone: row["energy_uj"] for zone, row in rows(frame).items()}


@pytest.fixture
def rapl(tmp_path) -> Iterator[SimulatedRapl]:
    with SimulatedRapl(tmp_path / "sys", CONFIG) as rapl:
        yield rapl


def test_what_is_published_is_what_flowed(rapl):
    """Every zone of both sockets, over two wraps and a restart: no microjoule more or less."""
    settings = PowerSettings(path_sysfs=rapl.sysfs)
    runtime = FakeRuntime()
    for _run in range(2):
        stage = PowerStage(settings, runtime)
        runtime, finished = runtime.restarted(), runtime
        deadline_s = time.monotonic() + 0.1
        while time.monotonic() < deadline_s:
            stage.on_tick(time.monotonic_ns())
            runtime.last = finished.frames[-1]
            assert energy_uj(runtime.last) == truth_uj(rapl)
        stage.close()
    assert rapl.log()["package-0"]["wraps"] == 1
    assert rapl.log()["package-1/dram"]["wraps"] == 1
    assert {row["gaps"] for row in rows(runtime.last).values()} == {0}
    assert len({finished.frames[0].epoch, runtime.last.epoch}) == 1


@contextlib.contextmanager
def service(run_directory: Path, rapl: SimulatedRapl) -> Iterator[subprocess.Popen]:
    """The real service. Whoever does not kill it earlier sees it stop cleanly."""
    settings = ["--run", str(run_directory), "--interval-s", "0.05", "--path.sysfs", str(rapl.sysfs)]
    process = subprocess.Popen([sys.executable, "-m", "services.power", *settings], stdout=subprocess.DEVNULL)
    try:
        yield process
        if process.poll() is None:
            process.terminate()
            assert process.wait(_DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()


def frame_when(run_directory: Path, condition) -> Power:
    """The service's last frame, once it is as wanted."""
    directory = ServiceDirectory(run_directory, "power")
    deadline_s = time.monotonic() + _DEADLINE_S
    while True:
        frame = read_last(directory)
        if frame is not None and condition(frame):
            return frame
        assert time.monotonic() < deadline_s, f"not so within {_DEADLINE_S} s: {frame}"
        time.sleep(0.01)


def test_nothing_is_lost_when_the_service_is_killed(run_directory, rapl):
    """SIGKILL at any moment: the next run has the energy of the pause, in the same epoch."""
    runs, epochs = [0], set()
    for _life in range(3):
        with service(run_directory, rapl) as process:
            frame = frame_when(run_directory, lambda frame: frame.run not in runs and frame.seq >= 2)
            runs.append(frame.run)
            epochs.add(frame.epoch)
            process.send_signal(signal.SIGKILL)
            process.wait()
    rapl.freeze()
    with service(run_directory, rapl):
        frame = frame_when(run_directory, lambda frame: frame.run not in runs and frame.seq >= 1)
    assert energy_uj(frame) == truth_uj(rapl)
    assert epochs == {frame.epoch}
    assert {row["gaps"] for row in rows(frame).values()} == {0}
    assert frame.sources[0].up


def test_a_zone_that_leaves_and_returns_loses_nothing(run_directory, rapl):
    """While it is away its row stays, it is absent and the source is down; then its whole energy is there."""
    dram = ("dram", "0")
    with service(run_directory, rapl):
        frame_when(run_directory, lambda frame: dram in rows(frame))
        rapl.fail("package-0/dram", "ENODEV")
        frame = frame_when(run_directory, lambda frame: "dram" in frame.absent.zone)
        assert rows(frame)[dram]["mono_ns"] < min(rows(frame)["dram", "1"]["mono_ns"], frame.mono_ns)
        assert "No such device" in frame.sources[0].reason
        rapl.heal("package-0/dram")
        rapl.freeze()
        seen = frame_when(run_directory, lambda frame: not len(frame.absent)).seq
        frame = frame_when(run_directory, lambda frame: frame.seq > seen)
    assert energy_uj(frame) == truth_uj(rapl)
