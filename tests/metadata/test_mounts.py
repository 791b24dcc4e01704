# SPDX-License-Identifier: Apache-2.0
"""Mounts wherever they lie."""

import subprocess
from pathlib import Path

from wattline.cgroup2 import whole_mount
from wattline.mounts import mounts


def test_a_mount_is_found_whatever_its_path(tmp_path):
    """Spaces, tabs, backslashes and what is no ASCII: the kernel writes some of these as numbers."""
    place = tmp_path / "a b\tc\\040d é\u2028#"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "wattline-test", str(place)], check=True)
    try:
        assert (place, "tmpfs") in mounts()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (place, "tmpfs") not in mounts()


def test_a_line_that_is_no_mount_is_skipped(tmp_path):
    """Nor is a mount point one that no path can have."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text("\nproc /proc\ncg /x\\000y cgroup2 rw 0 0\n", encoding="ascii")
    assert list(mounts(tmp_path)) == [(Path("/x\0y"), "cgroup2")]
    assert whole_mount(tmp_path) is None
