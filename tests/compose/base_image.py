# SPDX-License-Identifier: Apache-2.0
"""The base of the images where none can be pulled: Debian by debootstrap, kept for the next run."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "debian:bookworm-slim"  # as the Dockerfile calls it
_KEPT = Path(__file__).parents[2] / ".cache/debian-bookworm.tar"
# How pip reaches its index differs from machine to machine; what lies on a disk is of no use in a build.
_PIP_SETTINGS = ("cert", "index-url", "extra-index-url", "proxy", "trusted-host", "timeout")
_CERTIFICATES = "etc/pip-certificates.pem"


def import_base(docker) -> None:
    """Give an engine the base. `docker`: runs one command of it."""
    if not _KEPT.exists():
        _bootstrap()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        archive = Path(directory) / "base.tar"
        shutil.copyfile(_KEPT, archive)
        with tarfile.open(archive, "a") as opened:
            _configure_pip(opened)
        docker("import", str(archive), NAME)


def _bootstrap() -> None:
    _KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        root = Path(directory) / "root"
        command = ["debootstrap", "--variant=minbase", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for left in [
            *(root / "var/cache/apt/archives").glob("*.deb"),
            *(root / "var/lib/apt/lists").glob("*_*"),
        ]:
            left.unlink()
        new = _KEPT.with_suffix(".new")
        subprocess.run(["tar", "--one-file-system", "-C", str(root), "-cf", str(new), "."], check=True)
        new.rename(_KEPT)


def _configure_pip(archive: tarfile.TarFile) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(line.partition("=")[::2] for line in listed.splitlines())
    lines = ["[global]"]
    for name in _PIP_SETTINGS:
        value = settings.get(f":env:.{name}", settings.get(f"global.{name}", "")).strip("'")
        if name == "cert" and value:
            archive.add(os.path.realpath(value), _CERTIFICATES)
            value = f"/{_CERTIFICATES}"
        if value and "file:" not in value:
            lines.append(f"{name} = {value}")
    text = "\n".join([*lines, ""]).encode()
    member = tarfile.TarInfo("etc/pip.conf")
    member.size, member.mode = len(text), 0o644
    archive.addfile(member, io.BytesIO(text))
