# SPDX-License-Identifier: Apache-2.0
"""scripts/test.sh: two runs of pytest that have every test once, one exit code, and an end to both."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In place of Python: notes its arguments, prints and ends as it is told; the run of some directories is the
# one that calculates.
STUB = """#!/bin/sh
case "$*" in *--ignore=*) run=other ;; *tests/calculator*) run=calculating ;; *) run=only ;; esac
echo "$*" >"$NOTES/$run"
echo $$ >"$NOTES/$run.pid"
echo "output of $run"
[ -z "$WAITS" ] || exec sleep 600
[ "$run" != "$FAILS" ] || exit 1
"""


@pytest.fixture
def script(tmp_path):
    """Starts the script with two CPUs and the stub."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/test.sh").write_bytes((ROOT / "scripts/test.sh").read_bytes())
    for name, text in {"python": STUB, "nproc": "#!/bin/sh\necho 2\n"}.items():
        (tmp_path / name).write_text(text, encoding="ascii")
        (tmp_path / name).chmod(0o755)

    def start(*arguments: str, fails: str = "", waits: str = "") -> subprocess.Popen:
        own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(tmp_path), "TMPDIR": str(tmp_path)}
        return subprocess.Popen(
            ["sh", "scripts/test.sh", *arguments],
            cwd=tmp_path,
            env=os.environ | own | {"FAILS": fails, "WAITS": waits},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def test_every_test_is_in_one_run(script, tmp_path):
    """What one run has, the other ignores; and all that is named is there."""
    output, _ = script().communicate(timeout=30)
    named = set(re.findall(r"(?<= )tests/\w+", (tmp_path / "calculating").read_text()))
    ignored = set(re.findall(r"--ignore=(tests/\w+)", (tmp_path / "other").read_text()))
    assert named == ignored
    assert all((ROOT / place).is_dir() for place in named)
    assert output.index("output of other") < output.index("output of calculating")


@pytest.mark.parametrize(("fails", "code"), [("", 0), ("calculating", 1), ("other", 1)])
def test_a_failure_of_either_counts(script, tmp_path, fails, code):
    process = script(fails=fails)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


def test_arguments_make_it_one_run(script, tmp_path):
    output, _ = script("tests/wire", "-k", "two words").communicate(timeout=30)
    assert output == "output of only\n"
    assert (tmp_path / "only").read_text() == "-m pytest tests/wire -k two words\n"


def test_a_stop_ends_both(script, tmp_path):
    """As a terminal sends it: to all that run in the foreground."""
    process = script(waits="yes")
    pids = [tmp_path / f"{run}.pid" for run in ("other", "calculating")]
    deadline_s = time.monotonic() + 30
    while not all(path.exists() and path.read_text() for path in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not [path for path in pids if Path("/proc", path.read_text().strip()).exists()]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]
