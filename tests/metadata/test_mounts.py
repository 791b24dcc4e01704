# SPDX-License-Identifier: Apache-2.0
"""Mounts wherever they lie and whatever they are called."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from services.probe.ebpf.mounts import BPFFS, have_mounted
from wattline.cgroup2 import LOOK_AGAIN_NS, WatchedMount, find_mount, whole_mount
from wattline.mounts import MountWatch, mount_details, mounts

# Runs in a mount namespace of its own, where nobody else mounts anything. Its `mount` takes an empty source,
# which mount(8) does not.
_ALONE = """
import ctypes, os, sys
from pathlib import Path
from tests.metadata.test_mounts import *

libc = ctypes.CDLL(None, use_errno=True)
place = Path(sys.argv[1])

def mount(source, where, kind):
    assert libc.mount(source, os.fsencode(where), kind, 0, None) == 0, os.strerror(ctypes.get_errno())

def unmount(where):
    assert libc.umount2(os.fsencode(where), 2) == 0, os.strerror(ctypes.get_errno())

"""


@pytest.fixture
def alone(tmp_path):
    """Run code in a mount namespace of its own; what it printed, line by line."""

    def run(code: str) -> list[str]:
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", _ALONE + code]
        done = subprocess.run(
            [*command, str(tmp_path)], capture_output=True, encoding="utf-8", check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_mount_is_found_whatever_its_path(tmp_path):
    """Spaces, tabs, backslashes and what is no ASCII: the kernel writes some of these as numbers."""
    place = tmp_path / "a b\tc\\040d é\u2028#"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "wattline-test", str(place)], check=True)
    try:
        assert (place, "tmpfs") in mounts()
        assert any((one.place, one.kind) == (place, "tmpfs") for one in mount_details())
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (place, "tmpfs") not in mounts()


def test_a_line_that_is_no_mount_is_skipped(tmp_path):
    """Nor is a mount point one that no path can have."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text("\nproc /proc\ncg /x\\000y cgroup2 rw 0 0\n", encoding="ascii")
    assert list(mounts(tmp_path)) == [(Path("/x\0y"), "cgroup2")]
    assert whole_mount(tmp_path) is None


def test_fields_are_any_bytes(tmp_path):
    """Only a newline ends a line and only a space a field; an escape that is no byte is none."""
    (tmp_path / "self").mkdir()
    text = b" /a\rb tmpfs rw 0 0\nx\x85y /c\\777\\134 cgroup2 rw 0 0\n\xff /\xff z rw 0 0\n"
    (tmp_path / "self/mounts").write_bytes(text)
    assert list(mounts(tmp_path)) == [
        (Path("/a\rb"), "tmpfs"),
        (Path("/c\\777\\"), "cgroup2"),
        (Path("/\udcff"), "z"),
    ]


def test_details_are_found_by_their_place(tmp_path):
    """Any number of optional fields, an empty source, a root with a "-" of its own; no number is too long."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_bytes(
        b"36 23 0:32 / /sys/fs/bpf rw,nosuid - bpf bpf rw,mode=700\n"
        b"37 23 0:33 / /pstore rw shared:7 - pstore bpf rw\n"
        b"38 23 0:34 /- /b\\040c\r rw shared:8 master:1 - bpf  rw\n"
        b"36 - bpf\n36 23 x:1 / /b rw - bpf bpf rw\n36 23 0:1 / /b rw bpf bpf rw\n"
        b"36 23 0:" + b"1" * 5000 + b" / /b rw - bpf bpf rw\n"
    )
    found = list(mount_details(tmp_path))
    assert [one.device for one in found if one.kind == "bpf"] == [(0, 32), (0, 34)]
    assert found[0].flags == ("rw", "nosuid")
    assert found[0].options == ("rw", "mode=700")
    assert (found[2].root, found[2].place, found[2].options) == ("/-", Path("/b c\r"), ("rw",))
    assert len(found) == 3


def test_cgroup2_is_found_without_a_source(alone):
    """As minimal init systems mount it, at its usual place or at one with a space."""
    code = """
unmount(find_mount(Path("/proc")))
mine = place / "my cg"
mine.mkdir()
mount(b"", mine, b"cgroup2")
print(whole_mount(Path("/proc")) == mine)
"""
    assert alone(code) == ["True"]


def test_a_bpffs_without_a_source_is_not_covered(alone):
    """Whatever the list of mounts says: others' pins stay where they are, and nothing is mounted twice."""
    have_mounted("bpf", BPFFS)
    code = """
while any(where == BPFFS for where, _kind in mounts()):
    unmount(BPFFS)
mount(b"", BPFFS, b"bpf")
(BPFFS / "others-pins").mkdir()
have_mounted("bpf", BPFFS)
print((BPFFS / "others-pins").exists(), [where for where, _kind in mounts()].count(BPFFS))
unmount(BPFFS)
have_mounted("bpf", BPFFS)
print((BPFFS / "others-pins").exists(), [where for where, _kind in mounts()].count(BPFFS))
"""
    assert alone(code) == ["True 1", "False 1"]


def test_a_watch_sees_each_change_once(alone):
    """Mounting and unmounting; the first question is answered by yes, for nothing has been read yet."""
    code = """
watch = MountWatch()
print(watch.has_changed(), watch.has_changed())
mount(b"a", place, b"tmpfs")
print(watch.has_changed(), watch.has_changed())
unmount(place)
print(watch.has_changed(), watch.has_changed())
watch.close()
"""
    assert alone(code) == ["True False"] * 3


def test_a_mount_that_comes_later_is_found(alone):
    """Without a restart, and it is not looked for while nothing has changed."""
    code = """
usual = find_mount(Path("/proc"))
unmount(usual)
watched = WatchedMount(Path("/proc"))
print(watched.update(0), watched.whole)
print(watched.update(0))
mount(b"cgroup2", place, b"cgroup2")
print(watched.update(0), watched.whole == watched.place == place)
watched.close()
"""
    assert alone(code) == ["True None", "False", "True True"]


def _fails_once(monkeypatch):
    """Make the next look at the mount list fail as when the machine has no file left to open."""
    looks = iter([OSError(errno.ENFILE, "Too many open files in system")])

    def look(procfs):
        for error in looks:
            raise error
        return find_mount(procfs)

    monkeypatch.setattr("wattline.cgroup2.find_mount", look)


def test_a_look_that_fails_is_made_again(monkeypatch):
    """The kernel reports a change once, so a failed read must not use it up; the last place stays."""
    usual = find_mount(Path("/proc"))
    watched = WatchedMount(Path("/proc"))
    _fails_once(monkeypatch)
    with pytest.raises(OSError, match="Too many open files"):
        watched.update(0)
    assert watched.update(0)
    assert watched.place == usual
    monkeypatch.setattr(MountWatch, "has_changed", lambda _watch: False)
    assert not watched.update(1)
    _fails_once(monkeypatch)
    with pytest.raises(OSError, match="Too many open files"):
        watched.update(LOOK_AGAIN_NS)
    assert watched.place == usual
    assert watched.update(LOOK_AGAIN_NS)
    watched.close()


def test_the_mount_is_looked_at_again_once_a_minute(monkeypatch, tmp_path):
    """A mount that could not be told whole for want of memory is told so without another mount."""
    monkeypatch.setattr(MountWatch, "has_changed", lambda _watch: False)
    monkeypatch.setattr("wattline.cgroup2.is_whole", lambda _mount: False)
    watched = WatchedMount(Path("/proc"), tmp_path)
    assert watched.update(5)
    assert watched.whole is None
    monkeypatch.setattr("wattline.cgroup2.is_whole", lambda _mount: True)
    assert not watched.update(4 + LOOK_AGAIN_NS)
    assert watched.update(5 + LOOK_AGAIN_NS)
    assert watched.whole == tmp_path
    watched.close()


def test_without_a_list_every_question_is_answered_by_yes(tmp_path):
    """A directory that is no proc file system can't be watched, so it is read each time."""
    watch = MountWatch(tmp_path)
    assert [watch.has_changed() for _question in range(3)] == [True] * 3
    watch.close()


__all__ = ["BPFFS", "MountWatch", "WatchedMount", "find_mount", "have_mounted", "mounts", "whole_mount"]
