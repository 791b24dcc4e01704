# SPDX-License-Identifier: Apache-2.0
"""Each stage works as the user and with the capabilities that its unit gives it, and needs them."""

import contextlib
import os
import re
import time
import urllib.request

import pytest

from tests.pipeline.metrics import read
from wattline.pipeline import SERVICES
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .restricted import GROUP, USERS, Meter, Stage, capabilities, make_directories

pytestmark = pytest.mark.timeout(600)  # the first one waits for pip

_INTERVAL_S = 0.2


@pytest.fixture
def start(installed, run_directory, pin_path):
    """Starts a stage by the installed program; what was started last is stopped first."""
    make_directories(run_directory)
    pin_path.mkdir()
    os.chown(pin_path, USERS["probe"], GROUP)
    seen = run_directory / "bpf"  # as root's /sys/fs/bpf may not be entered
    seen.mkdir()
    program = installed / "usr/local/bin/wattline"
    with contextlib.ExitStack() as stack:

        def start_one(stage, without=(), **settings):
            return stack.enter_context(
                Stage(
                    program,
                    stage,
                    capabilities(stage) - set(without),
                    (pin_path, seen) if stage == "probe" else None,
                    run=run_directory,
                    interval_s=_INTERVAL_S,
                    probe_pin_path=seen / "wattline",
                    web_listen_address="127.0.0.1:0",
                    **settings,
                )
            )

        yield start_one


@pytest.fixture
def sysfs(run_directory):
    """A meter of our own, where every user may go."""
    path = run_directory / "sys"
    with Meter(path):
        yield path


def wait_for(condition, stages, seconds: float = 40):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("\n".join(stage.log for stage in stages))


def test_the_five_measure_as_their_units_start_them(start, sysfs, run_directory):
    """Five users, a meter and a BPF file system that are root's: joules rise, measured and by eBPF."""
    stages = {stage: start(stage, path_sysfs=sysfs) for stage in SERVICES}

    def frame(stage):
        return read_last(ServiceDirectory(run_directory, stage))

    def up(stage):
        return {source.name for source in frame(stage).sources if source.up}

    wait_for(lambda: all(map(frame, SERVICES)), stages.values())
    assert "ebpf" in up("probe")
    assert up("power") == {"rapl-sysfs"}
    pattern = r"listening address=(\S+)"
    (address,) = wait_for(lambda: re.findall(pattern, stages["exporter"].log), stages.values())

    def joules():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
            series = read(response.read())
        return sum(one.value for one in series if one.name == "kepler_node_package_joules_total")

    before = wait_for(joules, stages.values())
    wait_for(lambda: joules() > before + 5, stages.values())
    for stage, user in USERS.items():
        info = (run_directory / stage / "last").stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (user, GROUP, 0o640)
        assert "distrusted" not in stages[stage].log


@pytest.mark.parametrize("lacking", sorted(capabilities("probe")))
def test_the_probe_needs_each_of_its_two(start, run_directory, lacking):
    """Without either of them it says which, and reads /proc."""
    probe = start("probe", without=[lacking])
    directory = ServiceDirectory(run_directory, "probe")
    frame = wait_for(lambda: read_last(directory), [probe])
    assert frame.source == "procfs"
    assert "no_ebpf" in probe.log


def test_power_needs_its_one(start, sysfs):
    """Without it RAPL can't be read, and the log says that only root may."""
    power = start("power", without=["dac_read_search"], path_sysfs=sysfs)
    wait_for(lambda: "no_meter" in power.log, [power])
    assert "only root may" in power.log
