# SPDX-License-Identifier: Apache-2.0
"""A stage in another's place sends valid frames with odd values; then the true one comes back.

FUZZ_SEED sets which frames are sent (docs/fuzzing.md).
"""

import os
import re
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from tests.machine.simulated_rapl import SimulatedRapl
from tests.pipeline.books import check_books
from tests.pipeline.metrics import read
from tests.pipeline.services import fetch, frame_after, services

STAGES = ("probe", "metadata", "calculator", "power", "exporter")
INTERVAL_S = 0.25
BACK_S = 30  # by then a stage that came back is heard: it takes some 3 s to load eBPF, and 1 s to be reached
_LINES = 30
MEMORY_MAX_BYTES = 64 * 1024 * 1024  # by which odd frames may raise a stage's memory


@pytest.fixture
def pipeline(run_directory, tmp_path, pin_path):
    """Gives the five services by name, on a simulated meter and already at work."""
    with SimulatedRapl(tmp_path / "sys", {}) as rapl, services() as start:
        begun_ns = time.monotonic_ns()
        started = {}
        for stage in STAGES:
            started[stage] = start(
                f"services.{stage}",
                run_directory,
                interval_s=INTERVAL_S,
                probe_pin_path=pin_path,
                path_sysfs=rapl.sysfs,
                web_listen_address="127.0.0.1:0",
            )
            if stage == "probe":
                frame_after(run_directory, stage, begun_ns)
        watch = Watch(started, run_directory, start)
        yield watch
        for stage, log in watch.logs.items():
            print(f"--- {stage}\n{log}")


class Watch:
    """The pipeline from outside: scrapes whose books close, readiness, memory and logs."""

    def __init__(self, started, run: Path, start) -> None:
        self.started, self.run, self.start = started, run, start
        self.scrapes = 0
        self.logs: dict[str, str] = {}  # of the stages, to be printed where something failed

    def scrape(self):
        """One more; an answer 500 is an error here as everywhere."""
        series = read(fetch(self.started["exporter"]))
        if any(one.name == "kepler_node_package_joules_total" for one in series):
            check_books(series)
            self.scrapes += 1
        return series

    def package(self):
        """(joules, watermark) of the meter's package zone; zeros while there is none, or no exporter."""
        try:
            series = [one for one in self.scrape() if one.labels.get("source") == "rapl-sysfs"]
        except ConnectionError:
            return Decimal(0), Decimal(0)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionError):
                return Decimal(0), Decimal(0)
            raise
        joules = sum(one.value for one in series if one.name == "kepler_node_package_joules_total")
        marks = [
            one.value
            for one in series
            if one.name == "wattline_zone_watermark_timestamp_seconds" and one.labels["zone"] == "package"
        ]
        return joules, max(marks, default=0)

    def ready(self) -> str:
        """What /-/ready says."""
        address = self.started["exporter"].log.split("listening address=")[-1].split()[0]
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=10) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def wait_advancing(self, since: str) -> float:
        """Until energy and its time go on for a second and all is ready; how long that took."""
        begun_s = time.monotonic()
        first = None
        for attempt in count(1):
            joules, mark_s = self.package()
            first = first or ((joules, mark_s) if mark_s else None)
            if first and joules > first[0] and mark_s > first[1] + 1 and self.ready() == "Ready.\n":
                return time.monotonic() - begun_s
            passed_s = time.monotonic() - begun_s
            # So many attempts as well: a machine that pauses receives nothing meanwhile.
            assert passed_s < BACK_S or attempt < BACK_S, (
                f"{since}: no energy for {passed_s:.0f} s: first (J, s) {first}, then {(joules, mark_s)}; "
                f"{self.ready()!r}"
            )
            time.sleep(0.2)
        raise AssertionError

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each stage."""
        found = {}
        for stage, service in self.started.items():
            status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="ascii")
            found[stage] = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024
        return found

    @contextmanager
    def explained(self):
        """Keep the newest lines of each log if what is done here fails."""
        try:
            yield
        except AssertionError:
            self.logs = {
                stage: "\n".join(line[:300] for line in service.log.splitlines()[-_LINES:])
                for stage, service in self.started.items()
            }
            raise

    def check_logs(self) -> None:
        """No turn of a stage failed unexpectedly, and no request did."""
        for stage, service in self.started.items():
            lines = service.log.splitlines()
            bad = [line for line in lines if re.search(r" (unexpected|request_failed) ", line)]
            assert not bad, (stage, bad[:5])
            assert service.process.poll() is None, (stage, service.log[-2000:])

    @contextmanager
    def replaced(self, stage: str):
        """The true stage is away; it comes back at the end."""
        self.started[stage].process.terminate()
        assert self.started[stage].process.wait(10) == 0, self.started[stage].log[-2000:]
        yield
        self.started[stage].start()


def check_odd_frames(watch: Watch, stage: str, frames: int, frames_per_s: float, seed: str) -> None:
    """The whole course for one stage. Prints what it took."""
    with watch.explained():
        _check(watch, stage, frames, frames_per_s, os.environ.get("FUZZ_SEED") or seed)


def _check(watch: Watch, stage: str, frames: int, frames_per_s: float, seed: str) -> None:
    said = f"{stage}: seed {seed}, {frames:,} frames"
    watch.wait_advancing(f"{said}, before")
    before = watch.memory_bytes()
    with watch.replaced(stage):
        odd = watch.start(
            ["tests.fuzz.semantic.odd_stage", stage, str(watch.run), "--seed", seed, "--frames", str(frames),
             "--frames-per-s", str(frames_per_s)],
            watch.run,
        )  # fmt: skip
        while odd.process.poll() is None:
            if stage != "exporter":
                watch.scrape()
            time.sleep(0.3)
        assert odd.process.returncode == 0, odd.log
    print(f"{said}, {watch.scrapes} scrapes with residual 0 µJ")
    back_s = watch.wait_advancing(said)
    after = watch.memory_bytes()
    memory = ", ".join(f"{name} {before[name] / 1e6:.0f} -> {after[name] / 1e6:.0f}" for name in STAGES)
    print(f"{said}: energy goes on after {back_s:.1f} s; RSS in MB: {memory}")
    watch.check_logs()
    grown = {name: after[name] - before[name] for name in STAGES if name != stage}
    assert max(grown.values()) < MEMORY_MAX_BYTES, f"{said}: {grown}"


@pytest.mark.e2e
@pytest.mark.parametrize("stage", STAGES)
def test_a_thousand_odd_frames(pipeline, stage):
    """The same from each stage, with a status now and then: about a minute for the five."""
    check_odd_frames(pipeline, stage, 1000, 100, "2")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", STAGES)
def test_ten_thousand_odd_frames(pipeline, stage):
    """Ten thousand on each topic: about ten minutes for the five."""
    check_odd_frames(pipeline, stage, 10_000, 85, os.urandom(4).hex())
