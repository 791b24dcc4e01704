# SPDX-License-Identifier: Apache-2.0
"""`make install` and `make uninstall` with a DESTDIR: what is put there, for whom, and what is left."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from wattline import __version__

from .installed import files, make
from .units import SYSTEMD

pytestmark = pytest.mark.timeout(600)  # the first one waits for pip

_USER = 60_997
_TREE = "usr/local/lib/wattline"
_SETTINGS = ["etc/wattline/wattline.env", "etc/wattline/power-bmc.env"]
_EXPECTED = {
    "usr/local/bin/wattline",
    *_SETTINGS,
    "usr/local/lib/sysusers.d/wattline.conf",
    "usr/local/lib/tmpfiles.d/wattline.conf",
    *(f"usr/local/lib/systemd/system/{path.name}" for path in SYSTEMD.iterdir()),
}


@pytest.fixture
def copy(installed, tmp_path):
    """One that a test may change."""
    return Path(shutil.copytree(installed, tmp_path / "copy", symlinks=True))


def as_user(*command):
    """As a user to whom nothing belongs, in a directory that says nothing about where Wattline is."""
    prefix = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "env", "-i", "-C", "/"]
    return subprocess.run([*prefix, *command], capture_output=True, text=True)


def test_what_is_put_where(installed):
    """Units, users, pins' directory, settings and one program: nothing else outside of the environment."""
    assert set(files(installed)) == _EXPECTED
    assert all(mode == 0o644 for path, mode in files(installed).items() if path != "usr/local/bin/wattline")


def test_anybody_can_read_and_run_it(installed):
    """Whatever the umask was, and wherever it lies: another user has it say its version."""
    for path in (installed, *installed.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert mode & 0o044 == 0o044, path
            assert not mode & 0o022, path
    result = as_user(str(installed / "usr/local/bin/wattline"), "--version")
    assert (result.stdout, result.stderr) == (f"{__version__}\n", "")


def test_it_can_speak_redfish(installed):
    """Its power service has the package for a BMC, of the version in the lock."""
    lock = (SYSTEMD.parents[1] / "requirements/redfish.txt").read_text(encoding="utf-8")
    script = (
        "from importlib.metadata import version; from pathlib import Path; "
        "import wattline.services.power.redfish_bmc.session, redfish; "
        "print(f'redfish=={version(\"redfish\")}', Path(redfish.__file__).parents[4])"
    )
    result = as_user(str(installed / _TREE / "bin/python"), "-I", "-c", script)
    pin, place = result.stdout.split()
    assert f"\n{pin} " in lock
    assert place == str(installed / _TREE)


def test_it_is_a_copy_without_a_trace_of_where_it_was_made(installed):
    """It imports nothing of the checkout, has no pip, and names neither checkout nor place of build."""
    python = installed / _TREE / "bin/python"
    script = (
        "import wattline.services.calculator.loop, wattline.services.exporter.loop; print(wattline.__file__)"
    )
    result = as_user(str(python), "-I", "-c", script)
    assert result.stdout.startswith(str(installed / _TREE))
    assert not list((installed / _TREE / "bin").glob("pip*"))
    site = next((installed / _TREE / "lib").glob("python3*/site-packages"))
    assert not list(site.glob("pip*"))
    places = [os.fsencode(SYSTEMD.parents[1]), os.fsencode(installed.with_name("first")), b"/tmp/tmp."]
    for path in (installed / _TREE).rglob("*"):
        if path.is_file() and not path.is_symlink() and "numpy" not in str(path):
            assert not any(place in path.read_bytes() for place in places), path


@pytest.mark.e2e
def test_installing_again_changes_nothing_and_keeps_settings(copy):
    """A second time gives the same files; what the administrator wrote into the settings stays."""
    for name in _SETTINGS:
        (copy / name).write_text("WATTLINE_INTERVAL_S=3\n", encoding="ascii")
    (copy / _TREE / "stale").touch()
    before = files(copy)
    result = make("install", copy)
    assert result.returncode == 0, result.stderr
    assert files(copy) == before
    for name in _SETTINGS:
        assert (copy / name).read_text(encoding="ascii") == "WATTLINE_INTERVAL_S=3\n"
    assert not (copy / _TREE / "stale").exists()
    assert make("uninstall", copy).returncode == 0
    assert files(copy) == dict.fromkeys(_SETTINGS, 0o644)


def test_uninstalling_leaves_nothing(copy):
    """Not even a directory; and a second time there is nothing to do."""
    for _ in range(2):
        result = make("uninstall", copy)
        assert result.returncode == 0, result.stderr
        assert list(copy.iterdir()) == []


@pytest.mark.parametrize("name", _SETTINGS)
def test_uninstalling_keeps_settings_that_were_edited(copy, name):
    """An edited file stays, and is named; the other one goes."""
    (copy / name).write_text("WATTLINE_INTERVAL_S=3\n", encoding="ascii")
    result = make("uninstall", copy)
    assert result.returncode == 0, result.stderr
    assert f"keeping {copy / name}, which was changed" in result.stdout
    assert files(copy) == {name: 0o644}


def test_uninstalling_leaves_a_bmcs_account(copy):
    """The password is the administrator's: the file stays, and uninstall says so."""
    account = copy / "etc/wattline/bmc"
    account.touch(0o600)
    assert f"keeping {account}, which has a BMC's password" in make("uninstall", copy).stdout
    assert set(files(copy)) == {"etc/wattline/bmc"}


def test_uninstalling_leaves_what_is_others(copy):
    """A file of somebody else's beside ours stays, with its directory."""
    others = ["usr/local/bin/other", "usr/local/lib/systemd/system/other.service", "etc/wattline/own.toml"]
    for name in others:
        (copy / name).touch(0o644)
    assert make("uninstall", copy).returncode == 0
    assert set(files(copy)) == set(others)


@pytest.mark.parametrize("name", [f"{_TREE}/precious", "usr/local/bin/wattline"])
@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_what_we_did_not_make_is_left_alone(tmp_path, target, name):
    """A program or directory of our name that is somebody else's is named, and not touched."""
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="ascii")
    result = make(target, tmp_path)
    assert result.returncode != 0
    assert "was not made by this script" in result.stderr
    assert files(tmp_path).keys() <= {name}
    assert path.read_text(encoding="ascii") == "mine"


@pytest.mark.parametrize("prefix", ["relative/path", "/opt/with space", "/home/me/.local", "/root/x"])
def test_places_that_units_could_not_use_are_refused(tmp_path, prefix):
    """A prefix that the units can't see, or that can't stand in them, is named with what to do."""
    result = make("install", tmp_path, prefix=prefix)
    assert result.returncode != 0
    assert prefix in result.stderr
    assert "expected" in result.stderr or "choose" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_another_prefix(tmp_path):
    """Units go to /etc, where systemd looks, and name the other place throughout; the program runs there."""
    assert make("install", tmp_path, prefix="/opt/wattline/").returncode == 0
    units = tmp_path / "etc/systemd/system"
    assert {path.name for path in units.iterdir()} == {path.name for path in SYSTEMD.iterdir()}
    text = (units / "wattline-power.service").read_text(encoding="utf-8")
    assert "ExecStart=/opt/wattline/bin/wattline power\n" in text
    assert "BindReadOnlyPaths=/opt/wattline/lib/wattline /opt/wattline/bin/wattline\n" in text
    assert "/usr/local" not in text
    program = tmp_path / "opt/wattline/bin/wattline"
    result = subprocess.run([program, "--version"], cwd="/", capture_output=True, text=True)
    assert result.stdout == f"{__version__}\n"
    assert make("uninstall", tmp_path, prefix="/opt/wattline").returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["deinstall"]])
def test_the_script_says_what_it_can_do(arguments):
    """Without one of its two words it ends with 2 and names them."""
    script = SYSTEMD.parents[1] / "scripts/install.sh"
    result = subprocess.run([script, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert "install|uninstall" in result.stderr
