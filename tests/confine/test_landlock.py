# SPDX-License-Identifier: Apache-2.0
"""A confined process writes below its own directory only, root or not. Run as root."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from wattline.confine import landlock
from wattline.confine.limits import limit_writes
from wattline.log import Log

ROOT = Path(__file__).parents[2]

_CONFINED = """
from tests.confine.told import told
import os, sys, threading
from pathlib import Path
from wattline.confine import capabilities, landlock
own, pins, other = map(Path, sys.argv[1:])
capabilities.keep_only([])
landlock.write_only_below({own: landlock.WRITE, pins: landlock.REMOVE_DIRECTORY})
def in_a_thread(action):
    said = []
    thread = threading.Thread(target=lambda: said.append(told(action)))
    thread.start()
    thread.join()
    return said[0]
"""


@pytest.fixture
def places(tmp_path):
    """Three directories with a file and a directory in each: our own, that of pins, another's."""
    found = [tmp_path / name for name in ("own", "pins", "other")]
    for place in found:
        (place / "there").mkdir(parents=True)
        (place / "file").write_text("kept", encoding="ascii")
    return found


def confined(places, action):
    command = [sys.executable, "-c", f"{_CONFINED}print(told(lambda: {action}))", *map(str, places)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("(own / 'new').write_text('x')", "done"),
        ("(own / 'file').write_text('x')", "done"),
        ("(own / 'file').rename(own / 'other')", "done"),
        ("(own / 'file').unlink()", "done"),
        ("(own / 'there').rmdir()", "done"),
        ("(pins / 'there').rmdir()", "done"),
        ("(pins / 'file').unlink()", "EACCES"),
        ("(pins / 'new').mkdir()", "EACCES"),
        ("(other / 'file').read_text()", "done"),
        ("os.listdir(other)", "done"),
        ("(other / 'new').write_text('x')", "EACCES"),
        ("(other / 'file').write_text('x')", "EACCES"),
        ("os.truncate(other / 'file', 0)", "EACCES"),
        ("(other / 'file').unlink()", "EACCES"),
        ("(other / 'there').rmdir()", "EACCES"),
        ("(other / 'link').symlink_to('file')", "EACCES"),
        ("(own / 'file').rename(other / 'file')", "EACCES"),
        ("sys.exit(0) if in_a_thread(lambda: (other / 'new').write_text('x')) == 'EACCES' else 1", ""),
    ],
)
def test_only_below_its_own_directory(places, action, expected):
    """As root: files of root's own elsewhere can be read, not changed, made or removed; in threads too."""
    assert confined(places, action) == expected
    assert (places[2] / "file").read_text(encoding="ascii") == "kept"


def test_where_it_cannot_be_had_one_line_says_so(places, monkeypatch):
    """As on a kernel before 5.13: the service goes on."""

    def refuse(*_arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(landlock, "syscall", refuse)
    said = io.StringIO()
    limit_writes(Log("power", stream=said), {places[0]: landlock.WRITE})
    (line,) = said.getvalue().splitlines()
    assert "INFO power no_landlock" in line
    assert "Function not implemented" in line
    (places[2] / "new").write_text("x", encoding="ascii")
