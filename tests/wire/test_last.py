# SPDX-License-Identifier: Apache-2.0
"""How old a service's last frame is, whatever lies there; and that looking is cheap."""

import os
import subprocess
import sys

import msgpack
import pytest

from wattline.wire import shared
from wattline.wire.last import Heartbeat, read_heartbeat
from wattline.wire.rundir import ServiceDirectory


@pytest.fixture
def directory(run_directory):
    directory = ServiceDirectory(run_directory, "power")
    directory.prepare()
    return directory


def write(directory, payload):
    writer = shared.SlotWriter(directory.last)
    writer.write(payload)
    writer.close()


def test_the_heartbeat_is_the_frames(directory):
    """Of any frame that has the header, whatever else is in it."""
    assert read_heartbeat(directory) is None
    write(directory, msgpack.packb({"topic": "later", "mono_ns": 7, "interval_ns": 3, "more": [1]}))
    assert read_heartbeat(directory) == Heartbeat(7, 3)


@pytest.mark.parametrize(
    "content", [b"\xc1", b"", 7, [1, 2], {}, {"mono_ns": 7}, {"mono_ns": "7", "interval_ns": 3}]
)
def test_what_is_no_frame_has_none(directory, content):
    """Nothing is raised: a health check says unhealthy."""
    write(directory, content if isinstance(content, bytes) else msgpack.packb(content))
    assert read_heartbeat(directory) is None


def test_a_damaged_or_untrusted_one_has_none(directory):
    """As for every other reader."""
    write(directory, msgpack.packb({"mono_ns": 7, "interval_ns": 3}))
    directory.path.chmod(0o2770)
    assert read_heartbeat(directory) is None
    directory.path.chmod(0o2750)
    assert read_heartbeat(directory) == Heartbeat(7, 3)
    directory.last.write_bytes(b"WATTLN01")
    assert read_heartbeat(directory) is None


def test_a_health_check_loads_little(directory):
    """It runs every minute in each container: neither ZeroMQ nor what checks frames, nor the settings."""
    write(directory, msgpack.packb({"mono_ns": 0, "interval_ns": 10**18}))
    script = (
        "import sys; sys.argv = ['wattline', 'health', 'power']; from wattline.cli.main import main; "
        "code = main(); print(code, sorted({'zmq', 'msgspec', 'wattline.settings'} & {*sys.modules}))"
    )
    environment = {**os.environ, "WATTLINE_RUN": str(directory.path.parent)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "power: working" in result.stdout
    assert result.stdout.endswith("0 []\n")
