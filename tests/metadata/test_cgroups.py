# SPDX-License-Identifier: Apache-2.0
import subprocess
from pathlib import Path

from wattline.cgroup2 import find_mount, walk


def test_a_real_cgroup_is_found_by_its_id(cgroup):
    """The id the kernel gives a cgroup leads to its path, however deep it lies."""
    deep = cgroup / "some where" / "deeper"
    deep.mkdir(parents=True)
    mount = find_mount(Path("/proc"))
    paths = dict(walk(mount))
    assert paths[deep.stat().st_ino] == "/" + str(deep.relative_to(mount))
    assert paths[mount.stat().st_ino] == "/"
    deep.rmdir()
    deep.parent.rmdir()


def test_the_kernel_agrees(cgroup):
    """What a process in a cgroup reads of itself is the path we find."""
    with subprocess.Popen(["sleep", "60"]) as process:
        (cgroup / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        own = Path(f"/proc/{process.pid}/cgroup").read_text(encoding="ascii")
        process.kill()
    mount = find_mount(Path("/proc"))
    assert f"0::{dict(walk(mount))[cgroup.stat().st_ino]}\n" in own
