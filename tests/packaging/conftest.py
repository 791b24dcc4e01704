# SPDX-License-Identifier: Apache-2.0
"""One installation for all tests here that only look at it or run it; for others one in a running system."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .booted import Booted, booted
from .installed import make


@pytest.fixture(scope="session")
def installed() -> Iterator[Path]:
    """An installation made under a umask of 077, then moved away from where it was made."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        first = Path(directory) / "first"
        result = make("install", first, umask=0o077)
        assert result.returncode == 0, result.stderr
        assert "systemctl enable --now wattline" in result.stdout
        yield first.rename(first.with_name("moved"))


@pytest.fixture
def system(tmp_path: Path, cgroup: Path) -> Iterator[Booted]:
    """A running systemd of our own after `make install`."""
    with booted(tmp_path, cgroup) as running:
        running.make("install")
        yield running
