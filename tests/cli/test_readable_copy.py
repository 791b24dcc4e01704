# SPDX-License-Identifier: Apache-2.0
"""The copy of the code from which services run whose users can't read the original."""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline import readable
from wattline.cli import code_parts, readable_copy
from wattline.cli.as_user import as_user
from wattline.errors import Fatal
from wattline.isolated import HERE, Code

ROOT = Path(__file__).parents[2]
_UID, _GID = 60603, 60600


@pytest.fixture
def said():
    return []


@pytest.fixture
def unreadable(tmp_path, monkeypatch):
    """A copy of the checkout that only root can enter, as what runs now."""
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o700)
    for name in ("wattline", "services"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    here = Code(sys.executable, checkout / "wattline/start.py")
    monkeypatch.setattr(readable_copy, "HERE", here)
    monkeypatch.setattr(code_parts, "HERE", here)
    return checkout


@pytest.fixture
def small(unreadable, monkeypatch):
    """The same without the packages and the interpreter, which are a hundred megabytes more to copy."""
    own = [code_parts.Part(unreadable / name, name) for name in ("wattline", "services")]
    monkeypatch.setattr(readable_copy, "packages", lambda: own)
    monkeypatch.setattr(readable_copy, "standard_library", list)
    monkeypatch.setattr(readable_copy, "interpreter", list)
    return unreadable


@pytest.fixture
def cache(readable_directory):
    path = readable_directory / "cache"
    yield path
    shutil.rmtree(path, ignore_errors=True)


# Started as root, as services are, and another user before the first import.
_IMPORT_ALL = f"""
import os, sys
sys.path.insert(0, sys.argv[1])
os.setgroups([])
os.setresgid({_GID}, {_GID}, {_GID})
os.setresuid({_UID}, {_UID}, {_UID})
import importlib, pkgutil
import numpy.ma, redfish, services, wattline, zmq.utils.garbage
for package in (services, wattline):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(("__main__", ".load", "selftest.attributes", "selftest.tree")):
            importlib.import_module(module.name)
"""


def import_all(code):
    command = [code.python, "-I", "-S", "-c", _IMPORT_ALL, str(code.start.parents[1])]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def test_code_that_all_can_read_is_not_copied(cache, said, monkeypatch, readable_directory):
    """Nothing is copied, and nothing said, where the services' users can read everything."""
    everything = readable_directory / "all"
    everything.mkdir()
    monkeypatch.setattr(readable_copy, "packages", lambda: [code_parts.Part(everything, "all")])
    monkeypatch.setattr(readable_copy, "standard_library", lambda: ["/usr"])
    monkeypatch.setattr(sys, "executable", "/usr/bin/env")
    monkeypatch.setattr(sys, "path", [str(everything)])
    assert readable_copy.code_for(_UID, _GID, said.append, cache) is HERE
    assert said == []
    assert not cache.exists()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_stranger_can_run_the_copy(unreadable, cache, said, umask):
    """A service's whole code can be imported by a user that can't enter the original's directory."""
    old = os.umask(umask)
    try:
        code = readable_copy.code_for(_UID, _GID, said.append, cache)
    finally:
        os.umask(old)
    assert "has to be entered on the way" in said[0]
    result = import_all(code)
    assert result.returncode == 0, result.stderr
    copy = code.start.parents[1]
    places = list(readable.tree(str(copy)))
    assert len(places) > 500
    assert as_user(_UID, _GID, lambda: readable.obstacle(places)) == ""
    assert not any(Path(place).stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH) for place in places)


def test_the_copy_is_kept_until_a_file_changes(small, cache, said):
    """Started again it is the same copy; after an edit it is another, and the old one is removed."""
    first = readable_copy.code_for(_UID, _GID, said.append, cache)
    assert readable_copy.code_for(_UID, _GID, said.append, cache) == first
    for held in list(readable_copy._held):
        os.close(held)
        readable_copy._held.remove(held)
    edited = small / "services/calculator/loop.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    second = readable_copy.code_for(_UID, _GID, said.append, cache)
    assert second.start != first.start
    assert not first.start.exists()
    assert (second.start.parents[1] / "services/calculator/loop.py").read_text().endswith("# edited\n")


def test_a_copy_in_use_is_not_removed(small, cache, said):
    """While an `up` runs from a copy, another one of the changed code leaves it alone."""
    first = readable_copy.code_for(_UID, _GID, said.append, cache)  # this process holds it now
    (small / "wattline/new.py").write_text("", encoding="utf-8")
    assert readable_copy.code_for(_UID, _GID, said.append, cache).start != first.start
    assert first.start.exists()


def test_only_code_is_copied(small, cache, said, tmp_path):
    """Hidden files and links of the checkout may be private; an editor's mark is a link to nothing."""
    (tmp_path / "secret").write_text("key", encoding="ascii")
    (small / "services/leak").symlink_to(tmp_path / "secret")
    (small / "services/.env").write_text("key", encoding="ascii")
    (small / "wattline/.#health.py").symlink_to("someone@nowhere.1234")
    (small / "wattline/gone.py").symlink_to("/nowhere")
    copy = readable_copy.code_for(_UID, _GID, said.append, cache).start.parents[1]
    for name in ("services/leak", "services/.env", "wattline/.#health.py", "wattline/gone.py"):
        assert not os.path.lexists(copy / name), name
    assert (copy / "wattline/health.py").is_file()


_STARTS = """
import random, sys
from pathlib import Path
from wattline.cli import code_parts, readable_copy
from wattline.isolated import Code
checkout, cache = map(Path, sys.argv[1:])
here = Code(sys.executable, checkout / "wattline/start.py")
readable_copy.HERE = code_parts.HERE = here
readable_copy.interpreter = lambda: []
readable_copy.standard_library = lambda: []
readable_copy.packages = lambda: [
    code_parts.Part(checkout / name, name) for name in ("wattline", "services")
]
for number in range(12):
    if random.random() < 0.5:
        (checkout / "wattline/edited.py").write_text(f"# {random.random()}")
    code = readable_copy.code_for(60603, 60600, lambda _text: None, cache)
    assert code.start.is_file(), code
"""


def test_two_that_start_together_do_not_disturb_each_other(unreadable, cache):
    """Each has a whole copy, though the code is edited meanwhile and both remove what is old."""
    command = [sys.executable, "-c", _STARTS, str(unreadable), str(cache)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _number in range(2)]
    for process in started:
        _output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("what", ["link", "writable", "not ours"])
def test_a_cache_that_others_could_write_to_is_refused(unreadable, cache, said, what, readable_directory):
    """Code is run from it: a directory of strangers is refused with the cure."""
    if what == "link":
        cache.symlink_to(readable_directory)
    else:
        cache.mkdir()
        cache.chmod(0o777 if what == "writable" else 0o755)
        os.chown(cache, 0 if what == "writable" else _UID, 0)
    with pytest.raises(Fatal, match="expected a directory that only uid 0 may write to") as caught:
        readable_copy.code_for(_UID, _GID, said.append, cache)
    assert caught.value.exit_code == Fatal.PERMISSION
    if what == "link":
        cache.unlink()


def test_an_impossible_copy_says_what_to_do(unreadable, said, tmp_path):
    """Where the cache can't be made: what can't be read, why no copy, and the cure, in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(
        Fatal, match=r"a copy for them can't be made in .*Install Wattline where all can read it"
    ):
        readable_copy.code_for(_UID, _GID, said.append, tmp_path / "file/cache")


def test_a_run_directory_that_the_services_cannot_enter_is_refused(run_directory, pin_path):
    """WATTLINE_RUN below a 0700 directory: `up` ends at once with 78, and names the directory in the way."""
    hidden = run_directory / "hidden"
    hidden.mkdir(mode=0o700)
    with Pipeline(hidden / "run", pin_path) as running:
        assert running.process.wait(20) == 78
    assert running.said(r"services' users can enter.*/hidden has mode 0700")
    assert not pin_path.exists()


@pytest.mark.parametrize("place", ["the cache", "the copy", "its mark"])
def test_no_other_user_can_hold_it(small, cache, said, place):
    """A flock needs no more than a file or directory that one may open: it would stop `up` for ever."""
    copy = readable_copy.code_for(_UID, _GID, said.append, cache).start.parents[1]
    path = {"the cache": cache, "the copy": copy, "its mark": copy / ".held"}[place]
    held = as_user(_UID, _GID, lambda: _flocked(path))
    assert (held == "held") == (place == "the copy")  # nothing waits for that one
    (small / "wattline/new.py").write_text("", encoding="utf-8")
    assert readable_copy.code_for(_UID, _GID, said.append, cache).start.exists()


def _flocked(path):
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return "closed"
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return "held"


def test_code_is_not_run_from_a_place_that_others_can_replace(unreadable, said, tmp_path):
    """A cache below another user's directory is refused, before anything is made there."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 60_999, 60_999)
    with pytest.raises(Fatal, match=r"could replace it") as caught:
        readable_copy.code_for(_UID, _GID, said.append, home / "cache")
    assert caught.value.exit_code == Fatal.PERMISSION
    assert list(home.iterdir()) == []
