# SPDX-License-Identifier: Apache-2.0
"""The base of the images where none can be pulled."""

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from tests.hygiene.names import own_name
from tests.machine.debian import base, pip_configuration

NAME = "debian:bookworm-slim"  # as the Dockerfile calls it
_CERTIFICATES = "etc/pip-certificates.pem"


def import_base(docker) -> None:
    """Give an engine the base. `docker`: runs one command of it."""
    kept = base("bookworm")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix=f"{own_name()}-") as directory:
        archive = Path(directory) / "base.tar"
        shutil.copyfile(kept, archive)
        with tarfile.open(archive, "a") as opened:
            _configure_pip(opened)
        docker("import", str(archive), NAME)


def _configure_pip(archive: tarfile.TarFile) -> None:
    text, certificate = pip_configuration(f"/{_CERTIFICATES}")
    if certificate is not None:
        archive.add(certificate, _CERTIFICATES)
    member = tarfile.TarInfo("etc/pip.conf")
    member.size, member.mode = len(text.encode()), 0o644
    archive.addfile(member, io.BytesIO(text.encode()))
