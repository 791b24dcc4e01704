# SPDX-License-Identifier: Apache-2.0
"""WATTLINE_RUN: who may write where, and who is believed. Run as root, to be several users."""

import os
import stat

import pytest

from wattline.errors import Fatal, Retry
from wattline.pipeline import SERVICES
from wattline.wire import rundir
from wattline.wire.bus import Publisher, read_last
from wattline.wire.codec import decode
from wattline.wire.rundir import Lock, ServiceDirectory, lock_holder, prepare_run

from . import make_fixtures

_STRANGER = 60999
_GROUP = 60600


@pytest.fixture
def published(directory):
    """A directory in which a frame was published, and its publisher still lives."""
    publisher = Publisher(directory)
    publisher.publish(decode(make_fixtures.frames()["valid/power_full.frame"]), is_state=True)
    yield directory
    publisher.close()


def test_modes_are_those_of_the_page(published):
    """Directory 2750, socket 0770, `last` 0640: the group reads and connects, nobody else does anything."""
    modes = {
        path: stat.S_IMODE(path.lstat().st_mode)
        for path in (published.path, published.socket, published.last)
    }
    assert modes == {published.path: 0o2750, published.socket: 0o770, published.last: 0o640}


def test_modes_do_not_hang_on_the_umask(run_directory):
    """A strict umask does not lock the common group out."""
    umask = os.umask(0o077)
    try:
        directory = ServiceDirectory(run_directory, "power")
        directory.prepare()
        publisher = Publisher(directory)
        publisher.publish(decode(make_fixtures.frames()["valid/power_full.frame"]), is_state=True)
        publisher.close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(directory.path.lstat().st_mode) == 0o2750
    assert stat.S_IMODE(directory.last.lstat().st_mode) == 0o640


def test_what_is_made_inside_belongs_to_the_common_group(directory):
    """The directory hands its group down, so that the group's other members can read the files."""
    os.chown(directory.path, os.geteuid(), _STRANGER)
    directory.path.chmod(0o2750)
    publisher = Publisher(directory)
    publisher.publish(decode(make_fixtures.frames()["valid/power_full.frame"]), is_state=True)
    assert {directory.last.stat().st_gid, directory.socket.stat().st_gid} == {_STRANGER}
    publisher.close()


def test_a_directory_of_our_own_is_believed(published):
    """Owner and mode as they should be: nothing to distrust, and the last frame is read."""
    assert published.distrust() is None
    assert read_last(published) is not None


def test_a_service_that_has_not_been_here_is_waited_for(run_directory):
    """No directory yet is no reason for distrust."""
    with pytest.raises(Retry):
        ServiceDirectory(run_directory, "power").distrust()


@pytest.mark.parametrize("mode", [0o2770, 0o2752, 0o2777])
def test_a_directory_that_others_can_write_to_is_distrusted(published, mode):
    """Who could have put the socket there, may have; its last frame is not used either."""
    published.path.chmod(mode)
    assert "writable by its owner only" in published.distrust()
    assert read_last(published) is None


@pytest.mark.parametrize("name", ["socket", "last"])
def test_a_file_of_another_user_is_distrusted(published, name):
    """A socket or `last` that isn't the directory owner's is not believed."""
    path = getattr(published, name)
    os.chown(path, _STRANGER, -1, follow_symlinks=False)
    assert f"{path} belongs to uid {_STRANGER}" in published.distrust()
    assert read_last(published) is None


def test_a_link_in_place_of_the_directory_is_distrusted(run_directory, published):
    """A link can lead to a directory that passes every check and belongs to somebody else."""
    linked = ServiceDirectory(run_directory, "probe")
    linked.path.symlink_to(published.path)
    assert "no directory" in linked.distrust()


def test_the_directory_of_another_user_is_not_taken_over(run_directory):
    """A service that finds its directory owned by somebody else ends, and says whose it is."""
    directory = ServiceDirectory(run_directory, "power")
    directory.path.mkdir()
    os.chown(directory.path, _STRANGER, -1)
    with pytest.raises(Fatal, match=f"belongs to uid {_STRANGER}") as caught:
        directory.prepare()
    assert caught.value.exit_code == Fatal.PERMISSION


def test_a_directory_made_beforehand_gets_its_mode(run_directory):
    """Whatever mode our own directory had, it has the right one afterwards."""
    directory = ServiceDirectory(run_directory, "power")
    directory.path.mkdir()
    directory.path.chmod(0o777)
    directory.prepare()
    assert stat.S_IMODE(directory.path.lstat().st_mode) == 0o2750


def test_a_run_directory_of_another_user_is_refused(run_directory):
    """WATTLINE_RUN must be root's or our own."""
    os.chown(run_directory, _STRANGER, -1)
    with pytest.raises(Fatal, match=f"belongs to uid {_STRANGER}") as caught:
        ServiceDirectory(run_directory, "power").prepare()
    assert caught.value.exit_code == Fatal.PERMISSION
    assert not (run_directory / "power").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_run_directory_that_others_can_rename_in_is_refused(run_directory, mode):
    """Write permission for others without the sticky bit lets them replace our directories."""
    run_directory.chmod(mode)
    with pytest.raises(Fatal, match=f"has mode {mode:o}.*sticky") as caught:
        prepare_run(run_directory)
    assert caught.value.exit_code == Fatal.PERMISSION


def test_a_sticky_run_directory_is_accepted(run_directory):
    """With the sticky bit everybody may add, and nobody replace."""
    run_directory.chmod(0o1777)
    prepare_run(run_directory)


@pytest.fixture
def shared_run(run_directory):
    """A WATTLINE_RUN to which all users of a group may add, as a tmpfs volume is."""
    os.chown(run_directory, 0, _GROUP)
    run_directory.chmod(0o1770)
    return run_directory


@pytest.mark.parametrize(("service", "place"), [(name, number) for number, name in enumerate(SERVICES)])
def test_a_name_in_a_shared_run_directory_is_its_own_users(shared_run, service, place):
    """Of all numbers only the group's plus the service's place is believed, and root for the probe."""
    directory = ServiceDirectory(shared_run, service)
    directory.path.mkdir()
    believed = {_GROUP + place} | ({0} if service == "probe" else set())
    for uid in (0, *range(_GROUP - 1, _GROUP + len(SERVICES) + 1)):
        os.chown(directory.path, uid, -1)
        distrust = directory.distrust()
        assert (distrust is None) == (uid in believed), (uid, distrust)
        assert distrust is None or f"expected {_GROUP + place}" in distrust


def as_user(uid, call):
    """What a call raises when another user of the group makes it; empty if nothing. In a child, for good."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(_GROUP, _GROUP, _GROUP)
            os.setresuid(uid, uid, uid)
            call()
        except Fatal as error:
            os.write(writer, f"{error.exit_code} {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        return said.read()


def test_nobody_can_take_anothers_name_in_a_shared_run_directory(shared_run):
    """A service that runs as another's user ends with 77; one that finds its name taken says by whom."""
    power, own, other = ServiceDirectory(shared_run, "power"), _GROUP + 1, _GROUP + 3
    for uid in (0, other):
        assert as_user(uid, power.prepare).startswith(f"77 this is uid {uid}, expected {own},")
    assert as_user(other, power.path.mkdir) == ""  # not by our code: the first comer
    assert "a name taken" in power.distrust()
    assert as_user(own, power.prepare).startswith(f"77 {power.path} belongs to uid {other}")
    power.path.rmdir()
    assert as_user(own, power.prepare) == ""
    assert power.distrust() is None


def test_a_sticky_run_directory_without_a_group_asks_for_no_numbers(run_directory):
    """Of group 0 there are no users after it: as before, whoever owns the name is believed."""
    run_directory.chmod(0o1777)
    directory = ServiceDirectory(run_directory, "power")
    directory.prepare()
    os.chown(directory.path, _STRANGER, -1)
    assert directory.distrust() is None


def test_a_run_directory_is_made_if_its_parent_exists(run_directory):
    """One level is made; a path with a typing error isn't."""
    prepare_run(run_directory / "new")
    assert stat.S_IMODE((run_directory / "new").stat().st_mode) == 0o755
    with pytest.raises(Fatal, match="its parent must exist"):
        prepare_run(run_directory / "no" / "such")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_run_directory_must_be_one(run_directory, kind):
    """Neither a file nor a link is taken for a directory."""
    path = run_directory / "run"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(run_directory)
    with pytest.raises(Fatal, match="not a directory"):
        prepare_run(path)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    """The kernel's limit is named before ZeroMQ cuts or refuses the path in words of its own."""
    fits = "/" + "x" * (107 - len("//power/stream.sock"))
    ServiceDirectory(tmp_path / fits, "power")
    with pytest.raises(Fatal, match=r"has 108 bytes, expected at most 107.*shorter WATTLINE_RUN") as caught:
        ServiceDirectory(tmp_path / f"{fits}x", "power")
    assert caught.value.exit_code == Fatal.SETTINGS


def test_a_lock_has_one_holder(directory):
    """Two openings of one lock file exclude each other, in one process too."""
    with Lock(directory.lock) as first, Lock(directory.lock) as second:
        assert first.acquire()
        assert not second.acquire()
        assert (first.held, second.held) == (True, False)
        assert lock_holder(directory.lock) == os.getpid()


def test_a_lock_is_free_when_its_holder_closes(directory):
    """The file stays where it is, free for whoever comes next."""
    with Lock(directory.lock) as first:
        assert first.acquire()
    assert directory.lock.exists()
    assert lock_holder(directory.lock) is None
    with Lock(directory.lock) as second:
        assert second.acquire()


def test_nobody_holds_a_lock_that_was_never_made(directory):
    """No file, no holder."""
    assert lock_holder(directory.lock) is None


def test_who_waits_for_a_lock_is_not_its_holder(directory, monkeypatch):
    """The kernel lists waiting requests, marked with an arrow, below the lock that is held."""
    directory.lock.touch()
    info = directory.lock.stat()
    inode = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    locks = (
        f"1: POSIX  ADVISORY  WRITE 11 {inode} 0 EOF\n"
        f"1: -> FLOCK  ADVISORY  WRITE 12 {inode} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 13 00:05:1 0 EOF\n"
        f"3: FLOCK  ADVISORY  WRITE 14 {inode} 0 EOF\n"
    )
    monkeypatch.setattr(rundir.Path, "read_text", lambda *_a, **_k: locks)
    assert lock_holder(directory.lock) == 14


def test_a_lock_is_private(directory):
    """Mode 0600, whatever it was: a member of the group who can open it can hold it, read-only even."""
    directory.lock.touch(mode=0o640)
    with Lock(directory.lock) as lock:
        assert stat.S_IMODE(directory.lock.stat().st_mode) == 0o600
        assert lock.acquire()


def test_a_lock_follows_no_link(directory, tmp_path):
    """Nothing is opened or created through a link in a lock's place."""
    directory.lock.symlink_to(tmp_path / "created")
    with pytest.raises(Fatal, match=r"symbolic links; expected a plain file of uid 0") as caught:
        Lock(directory.lock)
    assert caught.value.exit_code == Fatal.PERMISSION
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("kind", ["pipe", "second name", "another user's"])
def test_a_lock_is_a_plain_file_of_our_own(directory, kind):
    """What is anything else is refused at once: a pipe, another file's second name, another user's file."""
    if kind == "pipe":
        os.mkfifo(directory.lock)
    else:
        directory.lock.touch()
        if kind == "second name":
            (directory.path / "other").hardlink_to(directory.lock)
        else:
            os.chown(directory.lock, _STRANGER, -1)
    with pytest.raises(Fatal, match=r"expected (0|a plain file)"):
        Lock(directory.lock)


def test_root_makes_no_lock_in_another_users_directory(directory):
    """Even where nothing is in the way."""
    os.chown(directory.path, _STRANGER, -1)
    with pytest.raises(Fatal, match=r"root makes no file there"):
        Lock(directory.lock)
    assert not directory.lock.exists()


def test_the_pid_file_follows_no_link(directory, tmp_path):
    """A link in its place is replaced; what it leads to stays."""
    victim = tmp_path / "victim"
    victim.write_text("kept", encoding="ascii")
    directory.pid.symlink_to(victim)
    directory.write_pid()
    assert directory.pid.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert not directory.pid.is_symlink()
    assert victim.read_text(encoding="ascii") == "kept"
    directory.remove_pid()
    assert not directory.pid.exists()


@pytest.mark.parametrize("how", ["owned", "open", "through a link"])
def test_root_refuses_a_place_that_others_can_replace(tmp_path, how):
    """A run directory below another user's, or below one open to all, could be another one a moment later."""
    above = tmp_path / "above"
    above.mkdir()
    if how == "open":
        above.chmod(0o777)
    else:
        os.chown(above, _STRANGER, -1)
    run = above / "run"
    if how == "through a link":
        (tmp_path / "link").symlink_to(above)
        run = tmp_path / "link/run"
    with pytest.raises(Fatal, match=r"can be replaced by the users who may write to .*above") as caught:
        prepare_run(run)
    assert caught.value.exit_code == Fatal.PERMISSION
    assert not run.exists()
