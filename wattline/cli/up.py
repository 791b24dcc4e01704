# SPDX-License-Identifier: Apache-2.0
"""`wattline up`: the five services as processes of their own, kept running until Ctrl-C."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import field

from wattline.errors import Fatal
from wattline.settings import CommonSettings, load, meaning
from wattline.wire.bus import read_last
from wattline.wire.rundir import DIRECTORY_MODE, SERVICES, Lock, ServiceDirectory, lock_holder, prepare_run

from .supervise import Child, Supervisor, prefixed

# They read devices that only root may read; the others need nothing.
_AS_ROOT = ("probe", "power")
_SERVICE_FILES = frozenset({"last", "lock", "pid", "stream.sock", "ledger", "ledger.refused", "procfs_state"})
_PROBE_READY_S = 30.0  # loading takes about a second; a starved machine gets its time


class UpSettings(CommonSettings, kw_only=True, frozen=True):
    """Run all five services and keep them running.

    The common flags are handed on to every service; a service's own settings come from its variables
    (WATTLINE_…) or from the TOML file.
    """

    up_first_id: Annotated[
        int,
        meaning(
            "started as root: number of the services' common group; metadata, calculator and exporter run as "
            "the users with the numbers after it",
            ge=1,
            le=2**31,
        ),
    ] = field(
        default=60600, name="up.first-id"
    )  # 60578 to 61183 are unused by convention (systemd's UIDS-GIDS)


def main(arguments: Sequence[str]) -> int:
    """Run until Ctrl-C or SIGTERM; exit code 0, or that of a service that can't be helped."""
    settings, _warnings = load(UpSettings, "up", arguments, os.environ)  # each service warns for itself
    prepare_run(settings.run)
    say = prefixed(max(map(len, SERVICES)))
    with Lock(settings.run / "lock") as lock:
        if not lock.acquire():
            raise Fatal(
                f"another `wattline up` (pid {lock_holder(settings.run / 'lock')}) runs in {settings.run}; "
                "stop it, or give this one its own WATTLINE_RUN"
            )
        users = _users(settings.up_first_id)
        for service in SERVICES:
            _prepare(ServiceDirectory(settings.run, service), users.get(service))
        common = _handed_on(arguments)
        children = [Child(name, _command(name, common, users.get(name))) for name in SERVICES]
        supervisor = Supervisor(children, say)
        try:
            return _run(supervisor, settings.run)
        finally:
            supervisor.stop()
            for service in SERVICES:
                _sweep(ServiceDirectory(settings.run, service))


def _run(supervisor: Supervisor, run: Path) -> int:
    """The probe first: energy measured before anybody watched who used it could be given to nobody."""
    begun_ns = time.monotonic_ns()

    def probe_has_sampled() -> bool:
        last = read_last(ServiceDirectory(run, "probe"))
        return last is not None and last.mono_ns > begun_ns

    code = supervisor.start("probe")
    if code is None:
        code = supervisor.wait_until(probe_has_sampled, _PROBE_READY_S)
    for name in SERVICES[1:]:
        code = code if code is not None else supervisor.start(name)
    return code if code is not None else supervisor.watch()


def _users(first_id: int) -> dict[str, tuple[int, int]]:
    """(uid, gid) by service, if we may choose."""
    if os.geteuid() != 0:
        return {}
    return {
        service: (0 if service in _AS_ROOT else first_id + number, first_id)
        for number, service in enumerate(SERVICES)
    }


def _prepare(directory: ServiceDirectory, user: tuple[int, int] | None) -> None:
    """Give a service its directory; what a former owner left in it becomes its own.

    Root does this where others may write, so it follows no link and touches only what a service makes.
    """
    directory.path.mkdir(mode=0o750, exist_ok=True)
    if user is None:
        return
    try:
        opened = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Fatal(
            f"{directory.path}: {error.strerror}; expected a directory: remove it", Fatal.PERMISSION
        ) from None
    try:
        for name in os.listdir(opened):  # noqa: PTH208 a descriptor, no path
            info = os.stat(name, dir_fd=opened, follow_symlinks=False)
            if name in _SERVICE_FILES and info.st_nlink == 1:
                os.chown(name, *user, dir_fd=opened, follow_symlinks=False)
        os.fchown(opened, *user)
        os.fchmod(opened, DIRECTORY_MODE)  # after chown, which clears setgid
    finally:
        os.close(opened)


def _command(service: str, common: Sequence[str], user: tuple[int, int] | None) -> list[str]:
    command = [sys.executable, "-m", f"services.{service}", *common, "--die-with-parent"]
    if user is not None:
        command += ["--user", f"{user[0]}:{user[1]}"]
    return command


def _handed_on(arguments: Sequence[str]) -> list[str]:
    """Our own flags, less those that only we have."""
    handed_on, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--up.first-id":
            skip = True
        elif not argument.startswith("--up.first-id="):
            handed_on.append(argument)
    return handed_on


def _sweep(directory: ServiceDirectory) -> None:
    """What a service that was killed could not remove; one that somebody else runs there is left alone."""
    with Lock(directory.lock) as lock:
        if lock.acquire():
            directory.socket.unlink(missing_ok=True)
            directory.pid.unlink(missing_ok=True)
