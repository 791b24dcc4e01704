# SPDX-License-Identifier: Apache-2.0
"""The stage, and the whole process over a real wire."""

import contextlib
import http.client
import io
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.exporter.loop import ExporterStage
from services.exporter.settings import ExporterSettings
from wattline.log import Log
from wattline.runtime import Runtime
from wattline.wire.bus import Publisher
from wattline.wire.columns import U64
from wattline.wire.frames import Energy
from wattline.wire.rundir import ServiceDirectory

from .frames import BOOT_ID, NOW_NS, small
from .readback import read, total

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


def get(address, path):
    """(status, body)."""
    host, port = address.split(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture
def runtime():
    fake = SimpleNamespace(
        log=Log("exporter", stream=io.StringIO()),
        boot_id=BOOT_ID,
        service="exporter",
        now_ns=time.monotonic_ns,
        errors={},
    )
    fake.count = partial(Runtime.count, fake)
    fake.mark_useful = partial(Runtime.mark_useful, fake)
    fake.failed_turns = 0
    return fake


@pytest.fixture
def stage(runtime):
    one = ExporterStage(ExporterSettings(web_listen_address="127.0.0.1:0"), runtime)
    yield one
    one.close()


def logged(runtime):
    return runtime.log.stream.getvalue()


def address_in(log):
    found = re.search(r"listening address=(\S+)", log)
    assert found, log
    return found[1]


def fresh(energy):
    """The frame as if it had been made right now."""
    energy.mono_ns = energy.activity_mono_ns = time.monotonic_ns()
    energy.zones.watermark_mono_ns = U64([energy.mono_ns] * len(energy.zones))
    return energy


def test_frames_are_scraped(stage, runtime):
    """A frame that has come is what the next scrape shows."""
    stage.on_frame(fresh(small()))
    stage.on_tick(time.monotonic_ns())
    status, text = get(address_in(logged(runtime)), "/metrics")
    assert status == 200
    assert total(read(text), "kepler_node_package_joules_total") > 0


def test_readiness_is_logged_when_it_changes(stage, runtime):
    """The log tells when data becomes fresh and when it stops being so, once each."""
    stage.on_frame(small())  # this clock is the test's own
    for _tick in range(3):
        stage.on_tick(NOW_NS)
    for _tick in range(3):
        stage.on_tick(NOW_NS + 5_000_000_000)
    words = [line.split()[3] for line in logged(runtime).splitlines()]
    assert words == ["listening", "ready", "not_ready"]


def test_failed_requests_are_counted(stage, runtime):
    """What fails while a text is made reaches the log and the stage's error counts."""
    broken = fresh(small())
    broken.containers.container_id = [None]
    stage.on_frame(broken)
    assert get(address_in(logged(runtime)), "/metrics")[0] == 500
    stage.on_tick(NOW_NS)
    assert runtime.errors == {"request_failed": 1}
    assert "request_failed" in logged(runtime)


@contextlib.contextmanager
def exporter(run_directory, *flags):
    """A real exporter process; (process, its address)."""
    arguments = ["--run", str(run_directory), "--interval-s", "0.05", "--web.listen-address", "127.0.0.1:0"]
    arguments += flags
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "services.exporter", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, address_in(process.stdout.readline())
        finally:
            process.kill()


def publish(publisher):
    """A fresh energy frame of this boot."""
    energy = fresh(small())
    energy.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    publisher.publish(energy, is_state=True)


def until(condition):
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_whole_process(run_directory):
    """The real exporter serves what a calculator publishes, exactly, and ends cleanly when told to."""
    directory = ServiceDirectory(run_directory, "calculator")
    directory.prepare()
    publisher = Publisher(directory)
    try:
        publish(publisher)
        with exporter(run_directory) as (process, address):
            until(lambda: get(address, "/-/ready")[0] == 200)
            until(lambda: b"kepler_node_package" in get(address, "/metrics")[1])
            series = read(get(address, "/metrics")[1])
            assert get(address, "/-/healthy")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        expected = small()
        node = total(series, "kepler_node_package_joules_total")
        assert node.scaleb(6) == sum(expected.zones.measured_uj[:2])
        containers = total(series, "kepler_container_package_joules_total")
        left = total(series, "wattline_unattributed_joules_total", zone="package")
        awaiting = total(series, "wattline_awaiting_names_joules", zone="package", level="container")
        assert node == containers + left + awaiting
        own = [one for one in series if one.labels.get("stage") == "exporter"]
        assert {one.value for one in own if one.name == "wattline_stage_up"} <= {0, 1}
        assert Energy.topic in {one.labels.get("topic") for one in series}
    finally:
        publisher.close()


def test_frames_of_another_boot_by_their_own_clock(run_directory):
    """With clock = frames the books of another boot are ready as of their own time, and stay so."""
    directory = ServiceDirectory(run_directory, "calculator")
    directory.prepare()
    publisher = Publisher(directory)
    try:
        publisher.publish(small(), is_state=True)
        with exporter(run_directory, "--clock", "frames") as (_process, address):
            until(lambda: b"kepler_node_package" in get(address, "/metrics")[1])
            # Its own status comes back to it and must not take its clock to this machine's time.
            until(lambda: b'wattline_stage_up{stage="exporter"} 1' in get(address, "/metrics")[1])
            assert get(address, "/-/ready")[0] == 200
        with exporter(run_directory) as (_process, address):
            assert get(address, "/-/ready")[0] == 503
    finally:
        publisher.close()
