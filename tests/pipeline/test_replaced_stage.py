# SPDX-License-Identifier: Apache-2.0
"""A stage written from the wire's description alone takes the place of ours, and gives it back."""

import os
import subprocess
import sys
import time
from decimal import Decimal
from operator import sub

import pytest

from .ever_rising import Scrapes
from .services import frame_after, services

OURS, FOREIGN = "trained_power_model", "foreign"


class Watched(Scrapes):
    """Scrapes in which no frame was refused either."""

    def next(self):
        series = super().next()
        assert not [one for one in series if one.name == "wattline_stage_frames_refused_total" and one.value]
        return series

    def until(self, source: str, joules: Decimal = Decimal(0), mark_s: Decimal = Decimal(0)):
        """The first scrape in which package joules and watermark of a source are both beyond these."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            series = self.next()
            energy, watermark_s = package(series, source)
            if energy > joules and watermark_s > mark_s:
                return series
            time.sleep(0.2)
        raise AssertionError(f"no more joules of {source} came")


def package(series, source):
    """Joules and watermark of a source's package zone; 0 before there are any."""
    joules = watermark_s = Decimal(0)
    for one in series:
        if one.labels.get("source") == source:
            if one.name == "kepler_node_package_joules_total":
                joules += one.value  # idle and dynamic
            elif one.name == "wattline_zone_watermark_timestamp_seconds" and one.labels["zone"] == "package":
                watermark_s = one.value
    return joules, watermark_s


def check_power(before, after) -> None:
    """25 W between two scrapes, by their own time.

    The watermark of the zone that has ended stands still: what it moves by is the error of the timestamps.
    """
    joules, elapsed_s = map(sub, package(after, FOREIGN), package(before, FOREIGN))
    ended_joules, error_s = map(sub, package(after, OURS), package(before, OURS))
    assert ended_joules == 0
    watts = joules / (elapsed_s - error_s)
    assert abs(watts / 25 - 1) < 0.001, (watts, error_s)


@pytest.mark.e2e
def test_another_power_service_in_the_place_of_ours(run_directory, tmp_path, pin_path):
    """A foreign power stage takes over, restarts and is killed, then ours goes on: no joule is missing."""
    begun_ns = time.monotonic_ns()
    interval = {"interval_s": 0.5}
    no_meter = tmp_path / "sys"
    no_meter.mkdir()
    with services() as start:
        start("services.probe", run_directory, probe_pin_path=pin_path, **interval)
        frame_after(run_directory, "probe", begun_ns)
        start("services.metadata", run_directory, **interval)
        start("services.calculator", run_directory, **interval)
        exporter = start("services.exporter", run_directory, web_listen_address="127.0.0.1:0", **interval)
        power = start("services.power", run_directory, path_sysfs=no_meter, **interval)
        scrapes = Watched(exporter)
        scrapes.until(OURS, *package(scrapes.until(OURS), OURS))

        power.process.terminate()
        assert power.process.wait(10) == 0
        foreign = start("tests.pipeline.foreign_power", run_directory)
        first = scrapes.until(FOREIGN)
        second = scrapes.until(FOREIGN, mark_s=package(first, FOREIGN)[1] + 3)
        check_power(first, second)
        tapped = subprocess.run(
            [sys.executable, "-m", "wattline.cli", "tap", "power", "--count", "2"],
            env=os.environ | {"WATTLINE_RUN": str(run_directory)},
            capture_output=True,
            check=True,
            text=True,
            timeout=30,
        ).stdout.splitlines()
        assert len(tapped) == 2
        assert all("package/0 " in line and line.endswith(" J measured") for line in tapped), tapped

        # It goes on from its own `last`: nothing is missing.
        foreign.process.terminate()
        assert foreign.process.wait(10) == 0
        assert {path.name for path in (run_directory / "power").iterdir()} == {"lock", "last"}
        foreign.start()
        third = scrapes.until(FOREIGN, mark_s=package(second, FOREIGN)[1] + 3)
        check_power(second, third)

        foreign.kill()
        power.start()
        # A watermark moves by some milliseconds from scrape to scrape; a second is more than that.
        joules, mark_s = package(third, OURS)
        again = scrapes.until(OURS, joules, mark_s + 1)
        scrapes.until(OURS, *package(again, OURS))
        assert "standby" not in foreign.log
