# SPDX-License-Identifier: Apache-2.0
"""Which run directories count as those of a running Wattline. Run as root, to be several users."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from wattline.cli import running
from wattline.cli.running import FileId, find, held_locks, instance_in, pin_directory_of
from wattline.pipeline import SERVICES
from wattline.wire.rundir import Lock

from .change_user import become
from .instance import hold

_STRANGER = 60999
_LOCKS = """\
1: FLOCK  ADVISORY  WRITE 11 00:1b:501 0 EOF
1: -> FLOCK  ADVISORY  WRITE 12 00:1b:501 0 EOF
2: POSIX  ADVISORY  WRITE 13 00:1b:502 0 EOF
3: FLOCK  ADVISORY  READ 14 00:1b:503 0 EOF
4: FLOCK  ADVISORY  WRITE 15 fd:01:504 0 EOF
5: LEASE  ACTIVE    READ 16 fd:01:505 0 EOF
"""


@pytest.fixture
def held(run_directory):
    """A function that takes the locks of a Wattline in this process; they are released at the end."""
    locks = []

    def take(run=run_directory, **parts):
        locks.extend(hold(run, **parts))
        return run

    yield take
    for lock in locks:
        lock.close()


@contextmanager
def holder(run, *flags, before=()):
    """The same in another process."""
    command = [*before, sys.executable, "-m", "tests.cli.instance", str(run), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.communicate()


def found(run):
    """The instance in a run directory among all that are found; None if it is not among them."""
    return next((one for one in find().instances if one.run == run), None)


def test_only_held_exclusive_flocks_count():
    """Not requests that wait, nor locks of other kinds. Device numbers are hexadecimal."""
    assert held_locks(_LOCKS) == {FileId(0, 0x1B, 501): 11, FileId(0xFD, 1, 504): 15}
    assert (
        held_locks("1: FLOCK\n2: FLOCK  ADVISORY  WRITE 11\n3: FLOCK  ADVISORY  WRITE x 00:1b 0 EOF\n") == {}
    )


def test_up_and_its_services_are_found(held):
    """By their locks, with the processes that hold them, `up` first."""
    run = held()
    assert found(run) == (run, tuple((name, os.getpid()) for name in ("up", *SERVICES)))
    assert instance_in(run) == found(run)


def test_a_service_alone_is_found(held):
    """One that was started without `up`."""
    run = held(services=["power"], up=False)
    assert [one.name for one in found(run).holders] == ["power"]


def test_a_directory_whose_processes_have_ended_is_not_found(run_directory):
    """Files alone prove nothing."""
    for lock in hold(run_directory):
        lock.close()
    assert found(run_directory) is None
    assert instance_in(run_directory) is None


@pytest.mark.parametrize("name", ["lock", "power/lock"])
def test_another_programs_lock_is_no_wattline(run_directory, name):
    """Root's too: a directory without the layout that Wattline makes is never offered for removal."""
    (run_directory / "power").mkdir()
    with Lock(run_directory / name) as lock:
        assert lock.acquire()
        assert found(run_directory) is None


def test_a_link_to_a_lock_is_no_lock(held, run_directory):
    """Neither a second name of the file nor a symbolic link."""
    run = held(services=["power"], up=False)
    os.link(run / "power/lock", run_directory / "second")
    assert found(run) is None
    (run_directory / "second").unlink()
    assert found(run) is not None
    (run_directory / "other").mkdir()
    (run_directory / "other/power").symlink_to(run / "power")
    assert instance_in(run_directory / "other") is None


def test_what_an_ordinary_user_prepared_is_not_root_s(run_directory):
    """All names right, all locks held: the owner decides, also where root names the directory."""
    run_directory.chmod(0o1777)
    with holder(run_directory / "all", f"--uid={_STRANGER}"):
        assert found(run_directory / "all") is None
        assert instance_in(run_directory / "all") is None
    for parts in (("--no-up", "--services=probe,power"), ()):
        with holder(run_directory, f"--uid={_STRANGER}", *parts):
            assert found(run_directory) is None


def test_a_lock_that_another_user_holds_proves_nothing(run_directory):
    """A user who may read root's lock file can lock it."""
    for lock in hold(run_directory):
        lock.close()
    (run_directory / "lock").chmod(0o644)
    lock_it = ["flock", str(run_directory / "lock"), "-c", "echo held; sleep 60"]
    user = ["setpriv", f"--reuid={_STRANGER}", f"--regid={_STRANGER}", "--clear-groups"]
    for before, is_found in ((user, False), ([], True)):
        process = subprocess.Popen([*before, *lock_it], stdout=subprocess.PIPE, start_new_session=True)
        try:
            assert process.stdout.readline() == b"held\n"
            assert (found(run_directory) is not None) == is_found
            assert (instance_in(run_directory) is not None) == is_found
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_a_directory_that_a_stranger_can_replace_is_not_found(held, run_directory):
    """It, or one above it: by its owner, or by write permission without the sticky bit."""
    (run_directory / "above").mkdir()
    run = held(run_directory / "above/run")
    assert found(run) is not None
    for path in (run, run.parent):
        os.chown(path, _STRANGER, -1)
        assert found(run) is None
        os.chown(path, 0, -1)
        path.chmod(0o777)
        assert found(run) is None
        path.chmod(0o1777)
        assert found(run) is not None


def test_a_path_of_another_mount_namespace_is_not_mistaken(run_directory):
    """The same path leads to another file from here, even to one with all that is expected."""
    for lock in hold(run_directory):
        lock.close()
    private = f'mount -t tmpfs -o mode=755 tmpfs {run_directory} && exec "$@"'
    with holder(run_directory, before=("unshare", "--mount", "sh", "-c", private, "sh")):
        assert found(run_directory) is None
    with holder(run_directory, before=("unshare", "--mount")):
        assert found(run_directory) is not None


def test_the_pins_of_a_probe_are_known_by_its_lock(run_directory, pin_path):
    """A directory in a BPF file system; another directory that it holds is none."""
    with holder(run_directory, f"--pins={pin_path}") as pid:
        assert pin_directory_of(pid) == pin_path
        os.chown(pin_path, _STRANGER, -1)
        assert pin_directory_of(pid) is None
    with holder(run_directory, f"--pins={run_directory}/pins") as pid:
        assert pin_directory_of(pid) is None
    assert pin_directory_of(pid) is None


def test_pins_of_another_mount_namespace_are_not_mistaken(run_directory, pin_path):
    """The same path leads to pins of another probe from here."""
    pin_path.mkdir(mode=0o700)
    private = f'mount -t bpf bpf {pin_path.parent} && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", private, "sh")
    with holder(run_directory, f"--pins={pin_path}", before=before) as pid:
        assert pin_directory_of(pid) is None


def test_a_process_that_ends_meanwhile_is_no_error(held, monkeypatch):
    """Between the list of locks and the look at a holder."""
    run = held()
    gone = subprocess.Popen(["true"])
    gone.wait()
    locks = {**running._locks(), FileId(0, 1, 2): gone.pid}
    monkeypatch.setattr(running, "_locks", lambda: locks)
    assert found(run) is not None


def test_what_could_not_be_looked_at_is_told(run_directory):
    """A user without rights finds root's `up` by its lock's place, and knows that there may be more."""
    reader, writer = os.pipe()
    with holder(run_directory):
        child = os.fork()
        if not child:
            try:
                become(_STRANGER)
                seen = find()
                names = [one.holders[0].name for one in seen.instances if one.run == run_directory]
                os.write(writer, f"{names} {seen.is_partial}".encode())
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read() == "['up'] True"


def test_a_missing_directory_runs_nothing(run_directory):
    """Nor a file of its name."""
    (run_directory / "file").touch()
    assert instance_in(run_directory / "no/such") is None
    assert instance_in(Path(run_directory / "file")) is None
