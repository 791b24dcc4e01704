# SPDX-License-Identifier: Apache-2.0
"""A second calculator waits for the first one's lock, and goes on from its ledger."""

import time

from tests.machine.simulated_rapl import SimulatedRapl

from .ever_rising import Scrapes
from .services import frame_after, services


def test_a_standby_takes_over(run_directory, tmp_path, pin_path):
    """When the first is killed the second has the books at once: no counter falls, nothing is left over."""
    interval = {"interval_s": 0.2}
    with SimulatedRapl(tmp_path / "sys") as rapl, services() as start:
        begun_ns = time.monotonic_ns()
        start("services.probe", run_directory, probe_pin_path=pin_path, **interval)
        frame_after(run_directory, "probe", begun_ns)
        start("services.power", run_directory, path_sysfs=rapl.sysfs, **interval)
        start("services.metadata", run_directory, **interval)
        exporter = start("services.exporter", run_directory, web_listen_address="127.0.0.1:0", **interval)
        first = start("services.calculator", run_directory, **interval)
        former = frame_after(run_directory, "calculator", begun_ns)
        second = start("services.calculator", run_directory, **interval)
        deadline = time.monotonic() + 20
        while "waiting" not in second.log:
            assert time.monotonic() < deadline, second.log
            time.sleep(0.05)
        assert f"holder_pid={first.process.pid}" in second.log
        scrapes = Scrapes(exporter)
        while scrapes.count < 3:
            scrapes.next()
            time.sleep(0.3)
        first.kill()
        killed_ns = time.monotonic_ns()
        later = frame_after(run_directory, "calculator", killed_ns + 1_000_000_000)
        assert (later.epoch, later.run != former.run) == (former.epoch, True)
        for _scrape in range(4):
            series = scrapes.next()
            time.sleep(0.5)
        reasons = {
            one.labels["reason"]
            for one in series
            if one.name == "wattline_unattributed_joules_total" and one.value
        }
        assert reasons <= {"idle_policy", "no_activity"}
        assert "recovered=True" in second.log
