# SPDX-License-Identifier: Apache-2.0
"""kube-apiserver and etcd, made once and kept as Debian's base is (tests/machine/debian.py).

Debian 12 has the whole of Kubernetes 1.20, with its Go modules, in the source package `kubernetes`; Debian
13 has only what kubectl needs of 1.32. So it is built in a fresh Debian 12, whatever this machine has.
"""

import shutil
import sys
import time
from pathlib import Path

from tests.fresh.root import FreshRoot
from tests.hygiene.names import own_name

_KEPT = Path(__file__).parents[2] / ".cache"
_BUILD = Path(__file__).with_name("build.sh")
_SUITE = "bookworm"
_GO = "/usr/lib/go-1.19/bin"
_PROGRAMS = ("kube-apiserver", "etcd")


def programs() -> Path:
    """The directory that has both; named for the version of the source package."""
    for kept in sorted(_KEPT.glob("kubernetes-*")):
        if all((kept / program).exists() for program in _PROGRAMS):
            return kept
    return _build()


def _build() -> Path:
    began_s = time.monotonic()
    print(f"building kube-apiserver for {_KEPT}, once: some minutes", file=sys.__stderr__, flush=True)
    with FreshRoot(_SUITE) as root:
        sources = root.path / "etc/apt/sources.list"
        lines = sources.read_text(encoding="utf-8")
        sources.write_text(lines + lines.replace("deb ", "deb-src "), encoding="utf-8")
        root.install("golang-1.19-go", "dpkg-dev", "etcd-server")
        root.run("apt-get", "source", "-q", "kubernetes", cwd="/srv")
        (unpacked,) = (root.path / "srv").glob("kubernetes-*/")
        (description,) = (root.path / "srv").glob("kubernetes_*.dsc")
        shutil.copy(_BUILD, root.path / "srv/build.sh")
        output = root.run(
            "sh", "-c", f"PATH={_GO}:$PATH sh build.sh {unpacked.name} kube-apiserver", cwd="/srv"
        )
        print(output)
        new = _KEPT / own_name()
        new.mkdir()
        shutil.copy(root.path / "srv/kube-apiserver", new)
        shutil.copy(root.path / "usr/bin/etcd", new)
    kept = _KEPT / f"kubernetes-{description.stem.partition('_')[2]}"
    new.rename(kept)
    print(f"{kept.name}: built in {time.monotonic() - began_s:.0f} s")
    return kept
