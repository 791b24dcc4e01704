# SPDX-License-Identifier: Apache-2.0
"""Debian as it is when new, by debootstrap; kept for the next run. And how pip reaches its index here."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hygiene.names import own_name

_KEPT = Path(__file__).parents[2] / ".cache"
# How pip reaches its index differs from machine to machine; what lies on a disk is of no use elsewhere.
_PIP_SETTINGS = ("cert", "index-url", "extra-index-url", "proxy", "trusted-host", "timeout")


def base(suite: str) -> Path:
    """A tar file of the smallest Debian of this suite (bookworm, trixie)."""
    kept = _KEPT / f"debian-{suite}.tar"
    if not kept.exists():
        _bootstrap(suite, kept)
    return kept


def _bootstrap(suite: str, kept: Path) -> None:
    kept.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix=f"{own_name()}-") as directory:
        root = Path(directory) / "root"
        command = ["debootstrap", "--variant=minbase", suite, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for left in [
            *(root / "var/cache/apt/archives").glob("*.deb"),
            *(root / "var/lib/apt/lists").glob("*_*"),
        ]:
            left.unlink()
        new = kept.with_name(own_name())
        subprocess.run(["tar", "--one-file-system", "-C", str(root), "-cf", str(new), "."], check=True)
        new.rename(kept)


def pip_configuration(certificates: str) -> tuple[str, Path | None]:
    """(a pip.conf by which pip reaches its index as here, the certificates that are to be at that path)."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(line.partition("=")[::2] for line in listed.splitlines())
    lines, certificate = ["[global]"], None
    for name in _PIP_SETTINGS:
        value = settings.get(f":env:.{name}", settings.get(f"global.{name}", "")).strip("'")
        if name == "cert" and value:
            certificate, value = Path(value).resolve(), certificates
        if value and "file:" not in value:
            lines.append(f"{name} = {value}")
    return "\n".join([*lines, ""]), certificate
