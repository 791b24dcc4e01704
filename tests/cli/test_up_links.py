# SPDX-License-Identifier: Apache-2.0
"""`wattline up` and `down`, as root, in directories whose owners have turned bad. Run as root."""

import os
import stat

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline.cli.up import _prepare, _sweep
from wattline.opened import directory
from wattline.pipeline import SERVICES
from wattline.wire.rundir import LOCK_MODE

_USER = (60604, 60600)


@pytest.fixture
def exporter(run_directory):
    """The exporter's directory, as its own user may have left it."""
    path = run_directory / "exporter"
    path.mkdir(mode=0o750)
    os.chown(path, *_USER)
    return path


@pytest.fixture
def victim(tmp_path):
    """A file of root's that no other user may change."""
    path = tmp_path / "victim"
    path.write_text("kept", encoding="ascii")
    path.chmod(0o600)
    return path


def untouched(path):
    info = path.stat()
    return (path.read_text(encoding="ascii"), info.st_uid, stat.S_IMODE(info.st_mode)) == ("kept", 0, 0o600)


def prepare(run):
    with directory(run) as opened:
        _prepare(opened, "exporter", _USER)


def sweep(run):
    with directory(run) as opened:
        _sweep(opened, "exporter")


@pytest.mark.parametrize("name", ["lock", "last", "pid", "stream.sock"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "second name", "pipe"])
def test_up_removes_what_no_service_makes(exporter, victim, tmp_path, name, kind):
    """In place of a service's file: it goes, and what it led to keeps owner, mode and content."""
    place = exporter / name
    match kind:
        case "link":
            place.symlink_to(victim)
        case "link to nothing":
            place.symlink_to(tmp_path / "made")
        case "second name":
            victim = exporter.with_name("victim")  # of the same file system
            victim.write_text("kept", encoding="ascii")
            victim.chmod(0o600)
            place.hardlink_to(victim)
        case "pipe":
            os.mkfifo(place)
    prepare(exporter.parent)
    assert not os.path.lexists(place)
    assert untouched(victim)
    assert not (tmp_path / "made").exists()
    info = exporter.stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (*_USER, 0o2750)


def test_up_hands_over_what_a_previous_owner_left(run_directory, exporter):
    """Plain files of a service get the new owner; other names stay as they are."""
    for name in ("lock", "last", "ledger", "notes"):
        (exporter / name).touch()
    prepare(run_directory)
    owners = {name: (exporter / name).stat().st_uid for name in ("lock", "last", "ledger", "notes")}
    assert owners == {"lock": _USER[0], "last": _USER[0], "ledger": _USER[0], "notes": 0}


def test_nothing_changes_hands_while_its_owner_could_replace_it(run_directory, exporter, monkeypatch):
    """While root gives files away, the directory is root's and closed to all others."""
    (exporter / "last").touch()
    seen = []
    real = os.chown

    def looking(*arguments, **options):
        info = exporter.stat()
        seen.append((info.st_uid, stat.S_IMODE(info.st_mode)))
        real(*arguments, **options)

    monkeypatch.setattr(os, "chown", looking)
    prepare(run_directory)
    assert seen == [(0, 0o700)]


@pytest.mark.parametrize("kind", ["nothing", "link", "pipe", "second name"])
def test_sweeping_makes_and_follows_nothing(run_directory, exporter, victim, kind):
    """A lock that is missing is not made; one that is no plain file is not opened for long, nor followed."""
    lock = exporter / "lock"
    if kind == "link":
        lock.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(lock)
    elif kind == "second name":
        (run_directory / "other").touch()
        lock.hardlink_to(run_directory / "other")
    (exporter / "pid").touch()
    sweep(run_directory)
    assert untouched(victim)
    assert os.path.lexists(lock) == (kind != "nothing")
    assert (exporter / "pid").exists()


def test_sweeping_follows_no_link_in_place_of_a_directory(run_directory, tmp_path):
    """Its lock and its files belong to another program."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("lock", "pid", "stream.sock"):
        (other / name).touch()
    (run_directory / "exporter").symlink_to(other)
    sweep(run_directory)
    assert {path.name for path in other.iterdir()} == {"lock", "pid", "stream.sock"}


def test_sweeping_removes_what_a_killed_service_left(run_directory, exporter):
    """Its socket and its pid; the last frame and the lock stay."""
    for name in ("lock", "pid", "stream.sock", "last"):
        (exporter / name).touch()
    sweep(run_directory)
    assert {path.name for path in exporter.iterdir()} == {"lock", "last"}


def test_a_lock_that_was_made_a_link_stops_nothing(run_directory, pin_path, victim, tmp_path):
    """A service's user puts links in place of its files: `up` stops and starts again, and touches nothing."""
    made = tmp_path / "made"
    with Pipeline(run_directory, pin_path, interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        modes = {name: stat.S_IMODE((run_directory / name / "lock").stat().st_mode) for name in SERVICES}
        last = run_directory / "exporter" / "last"
        pipeline.wait_until(last.exists)  # it may answer before its first frame
        for name, leads_to in (("lock", made), ("last", victim)):
            (run_directory / "exporter" / name).unlink()
            (run_directory / "exporter" / name).symlink_to(leads_to)
    assert pipeline.process.returncode == 0
    assert modes == dict.fromkeys(SERVICES, LOCK_MODE)
    with Pipeline(run_directory, pin_path, interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        assert (run_directory / "exporter/lock").is_file()
        assert not (run_directory / "exporter/lock").is_symlink()
    assert not made.exists()
    assert untouched(victim)
