# SPDX-License-Identifier: Apache-2.0
"""Every usual way to install gives a `wattline up` that measures joules, for root and by sudo."""

import subprocess
from pathlib import Path

import pytest

from .first_joule import seconds_to_first_joule
from .root import USER, FreshRoot

ROOT = Path(__file__).parents[2]
_SOURCE = "/srv/wattline"
_OWN_INTERPRETER = """
set -e
mkdir -p /root/.local/python/bin /root/.local/python/lib
cp /usr/bin/python3.11 /root/.local/python/bin/
cp -r /usr/lib/python3.11 /root/.local/python/lib/
/root/.local/python/bin/python3.11 -m venv /root/own
/root/own/bin/pip install -q /srv/wattline
"""
# Name → (user, what installs, the command that it gives).
_WAYS = {
    "pip, in an environment of root's": (
        "root",
        "python3 -m venv /root/env && /root/env/bin/pip install -q /srv/wattline",
        "/root/env/bin/wattline",
    ),
    "pip, in the system's Python": (
        "root",
        "pip install -q --break-system-packages /srv/wattline",
        "/usr/local/bin/wattline",
    ),
    "pipx, as root": ("root", "pipx install /srv/wattline", "/root/.local/bin/wattline"),
    "pipx, as a user": (USER, "pipx install /srv/wattline", f"/home/{USER}/.local/bin/wattline"),
    "uv tool, as root": (
        "root",
        "/opt/uv/bin/uv tool install -q /srv/wattline",
        "/root/.local/bin/wattline",
    ),
    "uv tool, as a user": (
        USER,
        "/opt/uv/bin/uv tool install -q /srv/wattline",
        f"/home/{USER}/.local/bin/wattline",
    ),
    # As `uv python install` and pyenv put it: an interpreter that only root can read.
    "pip, with an interpreter in /root/.local": (
        "root",
        _OWN_INTERPRETER,
        "/root/own/bin/wattline",
    ),
}
_REMOVE = "rm -rf /root/env /root/own /root/.local {home}/.local /usr/local/bin/wattline"


@pytest.fixture(scope="module")
def root():
    """A fresh Debian 12 with BCC, pip, pipx and uv, and the committed state to install."""
    with FreshRoot("bookworm") as fresh:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        source = fresh.path / _SOURCE.lstrip("/")
        source.mkdir()
        subprocess.run(["tar", "-C", str(source), "-x"], input=archive, check=True)
        source.chmod(0o755)
        fresh.install("python3-bpfcc", "python3-venv", "python3-pip", "pipx")
        fresh.run("python3", "-m", "venv", "/opt/uv")
        fresh.run("/opt/uv/bin/pip", "install", "-q", "uv")
        yield fresh


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", _WAYS)
def test_an_installed_wattline_measures_joules(root, tmp_path, way):
    """`wattline up`, as root or by sudo, from wherever it was installed: joules rise."""
    user, install, wattline = _WAYS[way]
    where = {} if user == "root" else {"user": user}
    try:
        root.run("sh", "-c", install, **where)
        sudo = () if user == "root" else ("sudo", "-E")
        seconds = seconds_to_first_joule(root, tmp_path / "log", (*sudo, wattline, "up"), wattline, **where)
        print(f"{way}: first joule after {seconds:.1f} s")
    finally:
        root.run("sh", "-c", _REMOVE.format(home=f"/home/{USER}"))
