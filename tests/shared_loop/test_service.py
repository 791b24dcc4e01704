# SPDX-License-Identifier: Apache-2.0
"""The run loop, with the smallest of services in a process of its own. Run as root, to change users."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.readable import command
from wattline import __version__
from wattline.isolated import HERE
from wattline.wire.bus import Publisher, Subscriber, read_last
from wattline.wire.codec import decode
from wattline.wire.frames import Status
from wattline.wire.rundir import ServiceDirectory, lock_holder

from . import tiny_stage

_PATIENCE_S = 20.0
_STOP_S = 2.0
_UID, _GID = 60612, 60610
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
_FIXTURES = Path(__file__).parents[1] / "wire/fixtures/valid"


def until(happened, what):
    """Wait for something that real processes do; its value."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not (value := happened()):
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.005)
    return value


class Service:
    """A running tiny service and its log."""

    def __init__(
        self, run, log_path, *flags, environ=None, groups=(), command=(sys.executable, tiny_stage.__file__)
    ):
        self.directory = ServiceDirectory(run, "power")
        self._log_path = log_path
        self._log = log_path.open("wb")
        arguments = ["--run", str(run), "--node", "n", "--interval-s", "0.05", *flags]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=self._log,
            stderr=self._log,
            cwd=Path(tiny_stage.__file__).parent,
            env={**os.environ, **(environ or {})},
            extra_groups=groups,
        )

    @property
    def log(self):
        return self._log_path.read_text(encoding="utf-8")

    def logged(self, text):
        """Wait for a line with this text; the line."""

        def line():
            ended = self.process.poll() is not None
            found = next((line for line in self.log.splitlines() if text in line), None)
            assert found or not ended, f"it ended, and logged only:\n{self.log}"
            return found

        return until(line, f"{text!r} in the log")

    def ended(self):
        """Wait for its end; the exit code."""
        return self.process.wait(_PATIENCE_S)

    def stop(self, number=signal.SIGTERM):
        """Ask it to stop; (exit code, seconds it took)."""
        begun_s = time.monotonic()
        self.process.send_signal(number)
        return self.ended(), time.monotonic() - begun_s

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def start(run_directory, tmp_path):
    """Start a tiny service in the test's run directory; killed at the end if it still runs."""
    services = []

    def started(*flags, **options):
        services.append(Service(run_directory, tmp_path / f"{len(services)}.log", *flags, **options))
        return services[-1]

    yield started
    for service in services:
        service.close()


@contextlib.contextmanager
def statuses(run):
    """A call that waits for a status frame with some property, and returns it."""
    with Subscriber(run, ["status"]) as subscriber:

        def wait_for(accept):
            def found():
                subscriber.connect()
                subscriber.poll(50)
                return next((frame for frame in subscriber.receive() if accept(frame)), None)

            return until(found, "a status frame")

        yield wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_service_cleanly(start, number):
    """SIGTERM and SIGINT end a service with 0 within 2 s, even in the middle of a long interval."""
    service = start("--interval-s", "600")
    service.logged(" started ")
    assert service.directory.pid.read_text() == f"{service.process.pid}\n"
    assert lock_holder(service.directory.lock) == service.process.pid
    code, took_s = service.stop(number)
    assert code == 0
    assert took_s < _STOP_S
    assert not service.directory.pid.exists()
    assert lock_holder(service.directory.lock) is None
    assert [line.split()[3] for line in service.log.splitlines()[-2:]] == ["closed", "stopped"]


def test_a_stopped_service_leaves_its_last_frame_and_no_socket(start):
    """What late joiners start from outlives a clean stop; the socket doesn't."""
    service = start()
    until(lambda: read_last(service.directory), "a frame")
    assert service.stop()[0] == 0
    assert not service.directory.socket.exists()
    assert read_last(service.directory) is not None


def test_a_late_joiner_has_the_state_of_a_dead_service(start, run_directory):
    """Though the publisher was killed, who comes later gets its last frame at once."""
    service = start()
    until(lambda: read_last(service.directory), "a frame")
    service.process.kill()
    service.ended()
    with Subscriber(run_directory, ["power"]) as subscriber:
        (frame,) = subscriber.receive()
    assert (frame.topic, frame.node, frame.producer) == ("power", "n", "power")


def test_a_second_service_waits_and_takes_over(start, run_directory):
    """The second on a run directory says who is there, waits, and goes on when the first is killed."""
    first = start()
    until(lambda: read_last(first.directory), "a frame")
    second = start()
    line = second.logged(" waiting ")
    assert f"holder_pid={first.process.pid}" in line
    assert "another power holds" in line
    with statuses(run_directory) as wait_for:
        assert wait_for(lambda _frame: True).pid == first.process.pid
        first.process.kill()
        first.ended()
        assert wait_for(lambda frame: frame.pid == second.process.pid)
    assert first.directory.pid.read_text() == f"{second.process.pid}\n"
    last_of_first = int(second.logged(" previous ").rsplit("run=", 1)[1])
    assert read_last(first.directory).run > last_of_first
    assert second.stop()[0] == 0


def test_a_standbys_run_begins_when_it_takes_over(start, run_directory):
    """Who waited longest is newer than all who ran meanwhile, or readers drop its status frames as old."""
    first = start()
    first.logged(" started ")
    second = start()
    second.logged(" waiting ")
    killed_ns = time.monotonic_ns()
    first.process.kill()
    first.ended()
    with statuses(run_directory) as wait_for:
        assert wait_for(lambda frame: frame.pid == second.process.pid).run >= killed_ns


def test_a_waiting_service_can_be_stopped(start):
    """A standby ends with 0 as well, and leaves what belongs to the first alone."""
    first = start()
    first.logged(" started ")
    second = start()
    second.logged(" waiting ")
    code, took_s = second.stop()
    assert code == 0
    assert took_s < _STOP_S
    assert first.directory.pid.read_text() == f"{first.process.pid}\n"
    assert first.directory.socket.exists()


def test_frames_are_numbered_by_topic(start, run_directory):
    """Who subscribes to one topic of a service sees no gap where it published another."""
    start()
    with Subscriber(run_directory, ["power"]) as power, Subscriber(run_directory, ["status"]) as status:
        for subscriber in (power, status):
            numbers = []

            def enough(subscriber=subscriber, numbers=numbers):
                subscriber.connect()
                subscriber.poll(50)
                numbers += [frame.seq for frame in subscriber.receive()]
                return len(numbers) > 5

            until(enough, "frames")
            assert subscriber.lost == {}
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_restart_begins_a_new_run(start):
    """After a kill, the same epoch goes on in a new run, and the stage is given its former last frame."""
    first = start()
    before = until(lambda: read_last(first.directory), "a frame")
    first.process.kill()
    first.ended()
    second = start()
    assert int(second.logged(" previous ").rsplit("run=", 1)[1]) == before.run
    after = until(
        lambda: (frame := read_last(first.directory)).run != before.run and frame, "a frame of the new run"
    )
    assert (after.epoch, after.boot_id) == (before.epoch, before.boot_id)
    assert after.run > before.run


def test_another_nodes_last_frame_is_not_gone_on_from(start):
    """A run directory that came from another node or boot does not give the stage its former state."""
    first = start()
    until(lambda: read_last(first.directory), "a frame")
    assert first.stop()[0] == 0
    assert start("--node", "other").logged(" previous ").endswith("run=none")


def test_a_status_frame_tells_what_a_service_costs(start, run_directory):
    """CPU time, memory and counts of the process itself are in its status frames."""
    service = start()
    with statuses(run_directory) as wait_for:
        first = wait_for(lambda frame: frame.frames_sent > 0)
        later = wait_for(lambda frame: frame.seq >= first.seq + 5)
    assert isinstance(first, Status)
    assert (first.service, first.pid, first.version) == ("power", service.process.pid, __version__)
    resident_kb = int(status_of(service.process.pid)["VmRSS"][0])
    assert abs(later.memory_bytes - resident_kb * 1024) < 5_000_000
    assert 10_000_000 < first.cpu_ns < later.cpu_ns < 20 * 10**9
    # Two frames a tick; the status frame itself is counted in the next one.
    assert later.frames_sent == first.frames_sent + 2 * (later.seq - first.seq)
    assert (later.errors, later.frames_refused, later.frames_lost) == ({}, {}, {})
    assert first.run == first.epoch == later.run
    assert first.interval_ns == 50_000_000


def test_an_exception_in_a_tick_is_counted_and_the_loop_goes_on(start, run_directory):
    """A bug costs its tick, is counted in the status frames, and logged with its place on one line."""
    service = start("--tiny.fault", "exception")
    with statuses(run_directory) as wait_for:
        status = wait_for(lambda frame: frame.errors.get("unexpected", 0) >= 2)
    assert status.errors == {"unexpected": status.errors["unexpected"]}
    line = service.logged(" unexpected ")
    assert "KeyError" in line
    assert "tiny_stage.py:" in line
    assert read_last(service.directory) is not None
    assert service.log.count(" unexpected ") == 1  # the rest within the same minute are only counted
    assert service.stop()[0] == 0


def test_a_retry_is_counted_and_a_departure_is_not(start, run_directory):
    """Busy is an error to count; what left is none."""
    start("--tiny.fault", "retry")
    with statuses(run_directory) as wait_for:
        assert wait_for(lambda frame: frame.errors).errors == {"retry": 1}


def test_a_departure_is_no_error(start, run_directory):
    """A process, zone or file that left costs its tick and nothing else."""
    service = start("--tiny.fault", "gone")
    with statuses(run_directory) as wait_for:
        status = wait_for(lambda frame: frame.seq > 7)
    assert status.errors == {}
    assert "WARNING" not in service.log


def test_a_fatal_error_ends_with_its_exit_code(start):
    """No later tick can succeed: the stage is closed, the reason logged, and its exit code returned."""
    service = start("--tiny.fault", "fatal")
    assert service.ended() == tiny_stage.FATAL_CODE
    assert f'cause="asked to fail" exit_code={tiny_stage.FATAL_CODE}' in service.logged(" fatal ")
    assert " closed" in service.log
    assert not service.directory.pid.exists()


def test_a_stage_that_cannot_be_built_ends_with_its_exit_code(start):
    """What is fatal at the start is so before the first tick."""
    service = start("--tiny.fault", "build")
    assert service.ended() == tiny_stage.FATAL_CODE
    assert " started " not in service.log
    assert not service.directory.pid.exists()


def test_late_ticks_are_counted(start, run_directory):
    """A tick that takes three and a half intervals leaves two out."""
    start("--tiny.fault", "slow")
    with statuses(run_directory) as wait_for:
        assert wait_for(lambda frame: frame.late_ticks).late_ticks >= 2


def test_frames_of_subscribed_topics_reach_the_stage(start, run_directory):
    """A frame that a neighbour left in `last` is handed to the stage at its start."""
    neighbour = ServiceDirectory(run_directory, "probe")
    neighbour.prepare()
    publisher = Publisher(neighbour)
    frame = decode((_FIXTURES / "activity_full.frame").read_bytes())
    publisher.publish(msgspec.structs.replace(frame, boot_id=BOOT_ID), is_state=True)
    publisher.close()
    assert start().logged(" frame ").endswith("topic=activity seq=3")


def test_a_distrusted_neighbour_is_named_and_not_heard(start, run_directory):
    """A neighbour whose directory others can write to is warned of, and its frames are not used."""
    neighbour = ServiceDirectory(run_directory, "probe")
    neighbour.prepare()
    publisher = Publisher(neighbour)
    frame = decode((_FIXTURES / "activity_full.frame").read_bytes())
    publisher.publish(msgspec.structs.replace(frame, boot_id=BOOT_ID), is_state=True)
    publisher.close()
    neighbour.path.chmod(0o2770)
    service = start()
    assert "stream=probe" in service.logged(" distrusted ")
    assert " frame " not in service.log


def test_refused_frames_are_in_the_status(start, run_directory):
    """What a service could not accept is told to whoever watches it."""
    neighbour = ServiceDirectory(run_directory, "probe")
    neighbour.prepare()
    publisher = Publisher(neighbour)
    newer = msgspec.structs.replace(decode((_FIXTURES / "activity_full.frame").read_bytes()), schema=2)
    start()
    with statuses(run_directory) as wait_for:

        def refused(frame):
            publisher.publish(newer, is_state=False)
            return frame.frames_refused

        assert set(wait_for(refused).frames_refused) == {"newer_schema"}
    publisher.close()


@pytest.mark.parametrize(
    ("flags", "environ", "code", "said"),
    [
        (["--no-such-flag"], {}, 2, "unrecognized arguments: --no-such-flag"),
        (["--interval-s", "0"], {}, 78, "flag --interval-s"),
        (["--config", "/no/such.toml"], {}, 78, "/no/such.toml"),
        ([], {"WATTLINE_LOG_LEVEL": "loud"}, 78, "variable WATTLINE_LOG_LEVEL"),
        (["--help"], {}, 0, "[s] (default: 1.0; WATTLINE_INTERVAL_S)"),
    ],
)
def test_wrong_settings_end_a_service_at_once(start, flags, environ, code, said):
    """Exit code 2 for a wrong flag, 78 for a wrong value, 0 for --help; each with words."""
    service = start(*flags, environ=environ)
    assert service.ended() == code
    assert said in " ".join(service.log.split())


def test_an_unknown_variable_is_warned_of_only(start):
    """A service goes on when Kubernetes has set variables of its prefix."""
    service = start(environ={"WATTLINE_SERVICE_HOST": "10.0.0.1"})
    assert "unknown variable WATTLINE_SERVICE_HOST is ignored" in service.logged(" WARNING ")
    service.logged(" started ")
    assert service.stop()[0] == 0


def test_a_run_directory_of_another_user_ends_a_service(start, run_directory):
    """WATTLINE_RUN that is somebody else's: exit code 77, and nothing made in it."""
    os.chown(run_directory, _UID, -1)
    service = start()
    assert service.ended() == 77
    assert f"belongs to uid {_UID}" in service.log
    assert list(run_directory.iterdir()) == []


@pytest.fixture
def handed_over(run_directory):
    """A directory made beforehand for the user that the service will become."""
    path = run_directory / "power"
    path.mkdir()
    os.chown(path, _UID, _GID)
    path.chmod(0o2750)
    return path


@pytest.fixture
def as_another(readable_directory):
    """The tiny service from code that the user it becomes can read."""
    return command(Path(tiny_stage.__file__), readable_directory, _UID, _GID)


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_a_service_started_as_root_drops_everything(start, handed_over, as_another):
    """--user: that uid and gid for good, no groups, no capabilities, no way to new ones; and it works."""
    service = start("--user", f"{_UID}:{_GID}", groups=[4, 60999], command=as_another)
    until(lambda: read_last(service.directory), "a frame")
    status = status_of(service.process.pid)
    assert status["Uid"] == [str(_UID)] * 4
    assert status["Gid"] == [str(_GID)] * 4
    assert status["Groups"] == []
    assert {name: int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {
        "CapInh": 0,
        "CapPrm": 0,
        "CapEff": 0,
        "CapAmb": 0,
    }
    assert status["NoNewPrivs"] == ["1"]
    for path in (handed_over / "last", handed_over / "stream.sock", handed_over / "pid"):
        info = path.lstat()
        assert (info.st_uid, info.st_gid) == (_UID, _GID)
        assert not info.st_mode & 0o007, path
    assert service.stop()[0] == 0


def test_a_dropped_service_cannot_make_its_own_directory(start, as_another):
    """The directory must be there: in a run directory of root's, another user can't make it."""
    service = start("--user", f"{_UID}:{_GID}", command=as_another)
    assert service.ended() == 77
    assert "may write to" in service.log


def test_a_service_that_cannot_read_its_code_says_so(start, handed_over, tmp_path):
    """Code below a directory that the new user can't enter: exit code 77 at once, the path and the cure."""
    hidden = tmp_path / "hidden"  # pytest's directories are mode 0700, too
    hidden.mkdir(mode=0o700)
    shutil.copytree(HERE.start.parent, hidden / "wattline")
    shutil.copy(tiny_stage.__file__, hidden)
    program = (
        f"import sys; sys.path.insert(0, {str(hidden)!r}); import tiny_stage; sys.exit(tiny_stage.run())"
    )
    service = start("--user", f"{_UID}:{_GID}", command=[sys.executable, "-c", program])
    assert service.ended() == 77
    assert "can't read the code it runs: " in service.log
    assert "has to be entered on the way" in service.log
    assert "`wattline up` as root" in service.log
    assert not (handed_over / "last").exists()


@pytest.mark.parametrize(("user", "code"), [("1:1", 77), (f"{_UID}:1", 77), (f"{_UID}:{_GID}", 0)])
def test_only_root_can_become_another_user(start, run_directory, as_another, user, code):
    """--user for who isn't root is refused with 77, unless one is that user already."""
    os.chown(run_directory, _UID, _GID)
    become = ["setpriv", f"--reuid={_UID}", f"--regid={_GID}", "--clear-groups"]
    service = start("--user", user, command=[*become, *as_another])
    if code == 0:
        service.logged(" started ")
        assert service.stop()[0] == 0
    else:
        assert service.ended() == code
        assert "only root can change its user" in service.log


_PARENT = """
import subprocess, sys, time
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("user", [[], ["--user", f"{_UID}:{_GID}"]])
def test_a_service_ends_with_its_parent(run_directory, handed_over, as_another, user):
    """--die-with-parent: kill -9 of the parent ends the child, also after it has changed its user."""
    if not user:
        os.chown(handed_over, os.geteuid(), -1)
    directory = ServiceDirectory(run_directory, "power")
    flags = ["--run", str(run_directory), "--interval-s", "0.05", "--die-with-parent", *user]
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, *as_another, *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = os.pidfd_open(int(parent.stdout.readline()))
    try:
        until(lambda: read_last(directory), "a frame")
        parent.kill()
        assert select.select([child], [], [], _PATIENCE_S)[0], "the child lives on"
        assert not directory.pid.exists()
    finally:
        parent.kill()
        parent.communicate()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
