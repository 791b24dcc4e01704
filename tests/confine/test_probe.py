# SPDX-License-Identifier: Apache-2.0
"""What is left to the probe once its program is loaded. Run as root, as the probe is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_CONFINED = """
from tests.confine.told import told
import os, socket, sys
from pathlib import Path
from types import SimpleNamespace
from services.probe.choose import confine
from wattline.log import Log
own, pins, other = map(Path, sys.argv[1:])
listening = socket.socket(socket.AF_UNIX)
listening.bind(str(other / "socket"))
listening.listen()
runtime = SimpleNamespace(log=Log("probe"), directory=SimpleNamespace(path=own), close=lambda: None)
confine(SimpleNamespace(probe_pin_path=pins / "wattline"), runtime, ["CAP_BPF"])
"""


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("socket.socket(socket.AF_UNIX).connect(str(other / 'socket'))", "EPERM"),
        ("socket.socket(socket.AF_UNIX).bind(str(own / 'socket'))", "done"),
        ("(other / 'new').write_text('x')", "EACCES"),
        ("(own / 'new').write_text('x')", "done"),
        ("(pins / 'wattline/program').rename(pins / 'wattline/loading-1')", "done"),
        ("((pins / 'wattline/program').rmdir(), (pins / 'wattline').rmdir())", "done"),
        ("os.fork()", "EPERM"),
    ],
)
def test_it_can_only_read_publish_and_unload(run_directory, action, expected):
    """As root it could connect to any daemon and write any file of root's: it can do neither."""
    places = [run_directory / name for name in ("own", "pins", "other")]
    for place in places:
        place.mkdir()
    (places[1] / "wattline/program").mkdir(parents=True)
    command = [sys.executable, "-c", f"{_CONFINED}print(told(lambda: {action}))", *map(str, places)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == [expected], done.stdout + done.stderr
