# SPDX-License-Identifier: Apache-2.0
"""`wattline up`: the five services as processes of their own, kept running until Ctrl-C."""

import contextlib
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import field

from wattline.errors import Fatal
from wattline.isolated import HERE, Code
from wattline.opened import directory, make_directory, open_directory, open_plain, remove
from wattline.pipeline import PIPELINE, POWER, SERVICES
from wattline.power_streams import PowerStreams
from wattline.readable import obstacle
from wattline.setting_owners import COMMON, OWNERS, split_flags
from wattline.settings import CommonSettings, load, meaning, nearest
from wattline.wire.bus import read_last
from wattline.wire.rundir import DIRECTORY_MODE, ServiceDirectory

from .as_user import as_user
from .listening import for_people, listening_address
from .output import Output
from .readable_copy import CACHE, code_for
from .run_upkeep import RunUpkeep, Taken
from .supervise import Child, Say, Supervisor, prefixed

# What services make, and its type.
_FILES = {
    **dict.fromkeys(("last", "lock", "pid", "ledger", "ledger.refused", "procfs_state"), stat.S_IFREG),
    "stream.sock": stat.S_IFSOCK,
}
_READY_S = 30.0  # each step takes about a second; a starved machine gets its time


class UpSettings(CommonSettings, kw_only=True, frozen=True):
    """Run all five services and keep them running.

    The common flags are handed on to every service, a service's own flags (--idle-policy even) to that one.
    """

    up_first_id: Annotated[
        int,
        meaning(
            "started as root: number of the services' common group; power, metadata, calculator and exporter "
            "run as the users with the numbers after it",
            ge=1,
            le=2**31,
        ),
    ] = field(
        default=60600, name="up.first-id"
    )  # 60578 to 61183 are unused by convention (systemd's UIDS-GIDS)
    up_cache: Annotated[
        Path,
        meaning(
            "started as root: where a copy of the code (up to 170 MB) is made if the services' users can't "
            "read it"
        ),
    ] = field(default=CACHE, name="up.cache")


def main(arguments: Sequence[str]) -> int:
    """Run until Ctrl-C or SIGTERM; exit code 0, or that of a service that can't start."""
    shared, own = split_flags(arguments)
    _refuse_unknown([*shared, *own[POWER]])
    settings, _warnings = load(UpSettings, "up", shared, os.environ)  # each service warns for itself
    output = Output(sys.stdout.fileno())
    say = prefixed(max(map(len, SERVICES)), output.put)
    users = _users(settings.up_first_id)
    extra = _extra_users(settings.streams, users, settings.up_first_id)
    upkeep = RunUpkeep(settings.run, lambda text: say("up", text), (*SERVICES, *extra))
    upkeep.hold()
    try:
        code = _code(settings, users, say)

        def prepare(service: str) -> None:
            with directory(settings.run) as run:
                _prepare(run, service, (users | extra).get(service))

        upkeep.prepare(prepare)
        common = _handed_on(shared)
        commands = {name: _command(code, name, [*common, *own[name]], users.get(name)) for name in SERVICES}
        watched = _Addressed(say)
        supervisor = Supervisor([Child(name, command) for name, command in commands.items()], watched.say)
        output.start()  # after the last fork: `_code` asks questions as another user
        try:
            return _run(_Upheld(supervisor, settings.run, upkeep, prepare), watched)
        except Taken as taken:
            say("up", str(taken))
            return taken.exit_code
        finally:
            supervisor.stop()
            for service in SERVICES:
                with contextlib.suppress(OSError), directory(settings.run) as run:
                    _sweep(run, service)
            output.close()
    finally:
        upkeep.close()


class _Addressed:
    """The services' output on its way to ours; remembers where the exporter listens."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.address = ""

    def say(self, name: str, line: str) -> None:
        """Print a line of a service."""
        self._say(name, line)
        if name == "exporter" and not self.address:
            self.address = listening_address(line)


class _Upheld(NamedTuple):
    """The children and the directories that they work in."""

    supervisor: Supervisor
    run: Path
    upkeep: RunUpkeep
    prepare: Callable[[str], None]

    def start(self, names: Sequence[str]) -> int | None:
        """Start services, the probe first; an exit code if all is to end.

        Energy measured before the probe runs could not be attributed to any process.
        """
        supervisor, begun_ns, code = self.supervisor, time.monotonic_ns(), None

        def probe_has_sampled() -> bool:
            last = read_last(ServiceDirectory(self.run, "probe"))
            return last is not None and last.mono_ns > begun_ns

        for name in names:
            code = code if code is not None else supervisor.start(name)
            if name == "probe" and code is None:
                code = supervisor.wait_until(probe_has_sampled, _READY_S)
        return code

    def watch(self) -> int:
        """Watch until all is to end. Services whose directory was removed get a new one and start again."""
        while (code := self.supervisor.watch(self.upkeep.look)) is None:
            code = self._renew(self.upkeep.lost)
            if code is not None:
                break
        return code

    def _renew(self, names: Sequence[str]) -> int | None:
        self.supervisor.stop_children(names)
        if not self.upkeep.renew(self.prepare):
            return None
        self.upkeep.say_renewed(names)
        return self.start([name for name in names if name in SERVICES])  # others start the extra streams


def _run(upheld: _Upheld, watched: _Addressed) -> int:
    code = upheld.start(SERVICES)
    if code is None:
        code = upheld.supervisor.wait_until(lambda: bool(watched.address), _READY_S)
    if code is None and watched.address:
        url = f"http://{for_people(watched.address)}"
        watched.say("up", f"Wattline runs: {url}/ for people, {url}/metrics for Prometheus; Ctrl-C stops it")
    return code if code is not None else upheld.watch()


def _refuse_unknown(flags: Sequence[str]) -> None:
    """Raise Fatal(USAGE) for a flag that neither `up` nor any service has, with the nearest that one has."""
    known = {f"--{name}" for name in (*COMMON, *OWNERS, "up.first-id", "up.cache", "help")}
    for flag in flags:
        name = flag.partition("=")[0]
        if name in ("--user", "--die-with-parent", "--name"):
            raise Fatal(f"{name} is a flag of single services: `up` gives it to each itself", Fatal.USAGE)
        if name.startswith("--") and name not in known:
            raise Fatal(
                f"no service has a flag {name}{nearest(name, known)} (docs/settings.md lists all)",
                Fatal.USAGE,
            )


def _users(first_id: int) -> dict[str, tuple[int, int]]:
    """(uid, gid) by service, if we may choose."""
    if os.geteuid() != 0:
        return {}
    return {
        service.name: (0 if service.as_root else first_id + number, first_id)
        for number, service in enumerate(PIPELINE)
    }


def _extra_users(
    streams: PowerStreams, users: dict[str, tuple[int, int]], group: int
) -> dict[str, tuple[int, int]]:
    """(uid, gid) by power stream whose user has a number, if we may choose. They are started by others.

    Only root may make directories in a WATTLINE_RUN of root's, so `up` makes theirs.
    """
    return {one.name: (one.uid, group) for one in streams.extra if users and one.uid is not None}


def _code(settings: UpSettings, users: dict[str, tuple[int, int]], say: Say) -> Code:
    """The code to run the services from; raises Fatal if their users can't reach the run directory."""
    if not users:
        say("up", "not root: no eBPF, and no meter that only root may read; for these, start it by sudo")
        return HERE
    # A user that owns neither code nor directories: what this one can read, all can.
    uid, gid = next(users[service.name] for service in PIPELINE if not service.as_root)
    if blocked := as_user(uid, gid, lambda: obstacle([str(settings.run)])):
        raise Fatal(
            f"WATTLINE_RUN {settings.run}: expected a directory that the services' users can enter; uid "
            f"{uid} can't read {blocked}. Choose one below /run or /dev/shm",
            Fatal.SETTINGS,
        )
    return code_for(uid, gid, lambda text: say("up", text), settings.up_cache)


def _prepare(run: int, service: str, user: tuple[int, int] | None) -> None:
    """Give a service its directory; what a previous owner left in it becomes its own.

    Root does this where another user may write: it takes the directory for itself meanwhile.
    """
    make_directory(service, run)
    if user is None:
        return
    try:
        opened = open_directory(service, run)
    except OSError as error:
        raise Fatal(
            f"{service} in WATTLINE_RUN: {error.strerror}; expected a directory: remove it", Fatal.PERMISSION
        ) from None
    try:
        os.fchmod(opened, 0o700)
        os.fchown(opened, 0, 0)
        for name in _FILES.keys() & set(os.listdir(opened)):  # noqa: PTH208 a descriptor, no path
            info = os.stat(name, dir_fd=opened, follow_symlinks=False)
            if stat.S_IFMT(info.st_mode) == _FILES[name] and info.st_nlink == 1:
                os.chown(name, *user, dir_fd=opened, follow_symlinks=False)
            elif not stat.S_ISDIR(info.st_mode):  # a link or a pipe, say: no service made that
                remove(name, opened)
        os.fchown(opened, *user)
        os.fchmod(opened, DIRECTORY_MODE)  # after chown, which clears setgid
    finally:
        os.close(opened)


def _command(code: Code, service: str, flags: Sequence[str], user: tuple[int, int] | None) -> list[str]:
    command = code.command(f"services.{service}", *flags, "--die-with-parent")
    if service == POWER:
        command += ["--name", POWER]  # whatever the environment says, this one is ours
    if user is not None:
        command += ["--user", f"{user[0]}:{user[1]}"]
    return command


def _handed_on(flags: Sequence[str]) -> list[str]:
    """Our own flags, less those that only we have."""
    handed_on, skip = [], False
    for flag in flags:
        if skip:
            skip = False
        elif flag in ("--up.first-id", "--up.cache"):
            skip = True
        elif not flag.startswith(("--up.first-id=", "--up.cache=")):
            handed_on.append(flag)
    return handed_on


def _sweep(run: int, service: str) -> None:
    """Remove what a killed service could not; leave alone what another process runs there."""
    with contextlib.suppress(OSError), directory(service, run) as opened:
        lock = open_plain("lock", opened, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in ("stream.sock", "pid"):
                remove(name, opened)
        finally:
            os.close(lock)
