# SPDX-License-Identifier: Apache-2.0
"""The run loop confines whatever stage it runs. Run as root."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_stage_that_tries_is_denied(run_directory, tmp_path):
    """A stage of root's can read root's files and write its own directory: no other, no program, network."""
    victim = tmp_path / "victim"
    victim.write_text("kept", encoding="ascii")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
    environment |= {"WATTLINE_RUN": str(run_directory), "VICTIM": str(victim), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/confine/curious_stage.py"), "--interval-s", "0.1"]
    outcomes = {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as stage:
        for line in stage.stdout:
            if found := re.search(r"tried what=(\w+) outcome=(\w+)", line):
                outcomes[found[1]] = found[2]
            if "own" in outcomes:
                break
        stage.terminate()
        stage.communicate()
    assert outcomes == {"read": "done", "write": "EACCES", "run": "EPERM", "network": "EPERM", "own": "done"}
    assert victim.read_text(encoding="ascii") == "kept"
    assert stage.returncode == 0
