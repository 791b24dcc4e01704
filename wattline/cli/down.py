# SPDX-License-Identifier: Apache-2.0
"""`wattline down`: end what runs in WATTLINE_RUN and remove whatever a crash left there and in the kernel.

A process is ours if it holds the lock of one of our directories, as the kernel tells; a pid in a file alone
proves nothing. Pins are ours to remove when no probe holds their directory.
"""

import contextlib
import os
import re
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import field

from wattline.errors import Fatal
from wattline.opened import directory, remove
from wattline.pins import is_pinned, remove_pins
from wattline.pipeline import SERVICES, service_of
from wattline.power_streams import PowerStreams
from wattline.settings import CommonSettings, load, meaning
from wattline.wire.rundir import DirectoryLock, ServiceDirectory, extra_streams, lock_holder

from .as_root import as_root
from .choice import Choice, choose, is_given
from .down_text import Outcome
from .readable_copy import remove_copies
from .running import UP, Instance, pin_directory_of, user_of

_STOP_S = 30.0  # longer than `up` may take to stop its five
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FILES = frozenset({"last", "lock", "pid", "stream.sock", "ledger"})  # a service makes some of these
_NAMES_MAX = 5  # of what is left, in the summary


class DownSettings(CommonSettings, kw_only=True, frozen=True):
    """Stop what runs in WATTLINE_RUN and remove whatever a crash left, totals included.

    Without --run, and if nothing runs in the default directory, that is the one in which Wattline runs.
    A running probe's own pins are unloaded unless --probe.pin-path names others.
    """

    probe_pin_path: Annotated[
        Path, meaning("directory in a BPF file system where the program and its counters are pinned")
    ] = field(default=Path("/sys/fs/bpf/wattline"), name="probe.pin-path")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 if nothing is left."""
    settings, _warnings = load(DownSettings, "down", arguments, os.environ, borrowed_table="probe")
    choice = choose(settings.run, is_given=is_given(settings.run), command="down")
    run = choice.run
    if run != settings.run and choice.instance is not None:
        _refuse_unit(choice.instance)
    _require_own(run, as_root("down", arguments, run, _owner(run) or 0))
    outcome = Outcome(run)
    try:
        pins = _Pins(settings, run)
        for name, lock in _locks(run, settings.streams):  # `up` first, or it would start the others again
            _end_holder(name, lock, settings.streams, outcome)
        _remove_run(run, settings.streams, outcome)
        pins.remove(outcome)
        if os.geteuid() == 0:
            with contextlib.suppress(Fatal):  # a directory that is not ours
                outcome.copies = len(remove_copies())
    except PermissionError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        raise Fatal(f"{what}: run `{as_root('down', arguments, run)}`", Fatal.PERMISSION) from None
    except KeyboardInterrupt:
        raise Fatal("interrupted before all was stopped and removed; run it again") from None
    print(outcome.text(_hint(choice)))
    if outcome.is_blind:
        raise Fatal(f"{outcome.unseen}: run `{as_root('down', arguments, run)}`", Fatal.PERMISSION)
    return 0


def _refuse_unit(instance: Instance) -> None:
    """Raise Fatal for an instance that was not named and that systemd runs, and would count as stopped."""
    for holder in instance.holders:
        unit = unit_in(_read(Path(f"/proc/{holder.pid}/cgroup")))
        if unit:
            raise Fatal(
                f"Wattline runs in {instance.run} as {unit}: stop it by `systemctl stop {unit}`, or name "
                f"it by --run {instance.run}"
            )


def unit_in(cgroups: str) -> str:
    """Wattline's unit of systemd in the text of /proc/PID/cgroup; empty if there is none. Pure."""
    found = re.search(r"/(wattline[a-z-]*\.service)(?:/|$)", cgroups, re.MULTILINE)
    return found[1] if found else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _hint(choice: Choice) -> str:
    return choice.hint if choice.elsewhere or choice.is_partial else ""


def _owner(run: Path) -> int | None:
    try:
        return run.lstat().st_uid
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _require_own(run: Path, cure: str) -> None:
    """Raises Fatal for a run directory of another user, and for what is no directory."""
    try:
        info = run.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise Fatal(f"uid {os.geteuid()} may not look at {run}: run `{cure}`", Fatal.PERMISSION) from None
    if not stat.S_ISDIR(info.st_mode):
        raise Fatal(
            f"WATTLINE_RUN {run} is not a directory; expected one that `wattline up` made", Fatal.SETTINGS
        )
    if info.st_uid not in (0, os.geteuid()):
        raise Fatal(
            f"{run} belongs to uid {info.st_uid}, expected uid {os.geteuid()} or root: run `{cure}`",
            Fatal.PERMISSION,
        )


def _locks(run: Path, streams: PowerStreams) -> Iterator[tuple[str, Path]]:
    yield UP, run / "lock"
    for service in _own_services(run, streams):
        yield service, ServiceDirectory(run, service).lock


def _own_services(run: Path, streams: PowerStreams) -> Iterator[str]:
    """The services whose directories are there, and power streams beside `power`, listed or not.

    Neither a link, which may lead to another program's lock and files, nor the directory of a stranger in a
    run directory in which anybody may make one, such as /tmp.
    """
    for service in (*SERVICES, *extra_streams(run)):
        place, uid = SERVICES.index(service_of(service)), streams.uid_of(service)
        try:
            info, around = (run / service).lstat(), run.lstat()
        except FileNotFoundError:
            continue
        if uid is None and around.st_gid:
            uid = around.st_gid + place
        trusted = {0, os.geteuid(), around.st_uid, uid}
        is_strangers = around.st_mode & _OTHERS_WRITE and info.st_uid not in trusted
        if stat.S_ISDIR(info.st_mode) and not is_strangers:
            yield service


def _end_holder(name: str, lock: Path, streams: PowerStreams, outcome: Outcome) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = _our_holder(lock)
        if pid is None:
            return
        print(f"{name}: ending process {pid} (signal {number.name})", flush=True)
        along = [] if name != UP else _running_services(lock.parent, streams)
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise PermissionError(f"{name} (pid {pid}) belongs to uid {user_of(pid)}") from None
        deadline_s = time.monotonic() + _STOP_S
        while lock_holder(lock) == pid and time.monotonic() < deadline_s:
            time.sleep(0.05)
        outcome.stopped(name, pid, along)
    if (pid := lock_holder(lock)) is not None:
        raise Fatal(f"{name}: process {pid} still holds {lock}")


def _running_services(run: Path, streams: PowerStreams) -> list[str]:
    """The services that `up` has started."""
    locks = (entry for entry in _locks(run, streams) if entry[0] in SERVICES)
    return [name for name, lock in locks if _our_holder(lock) is not None]


def _our_holder(lock: Path) -> int | None:
    """Who holds a lock, if it is a process of the user to whom the lock belongs."""
    pid = lock_holder(lock)
    if pid is None:
        return None
    try:
        owner = lock.lstat().st_uid
    except FileNotFoundError:
        return None
    return pid if user_of(pid) == owner else None


def _remove_run(run: Path, streams: PowerStreams, outcome: Outcome) -> None:
    if not run.exists():
        return
    with directory(run) as opened:
        for service in _own_services(run, streams):
            if _remove_service(service, opened):
                outcome.removed.append(service)
        remove("lock", opened)
    try:
        run.rmdir()
    except OSError:  # a mount point, or somebody else's things in it
        names = sorted(path.name for path in run.iterdir())
        outcome.left = names[:_NAMES_MAX] + (["…"] if len(names) > _NAMES_MAX else [])
    else:
        outcome.is_run_removed = True


def _remove_service(service: str, run: int) -> bool:
    """Remove a service's directory; False, and nothing removed, if it does not look like one.

    A mistaken --run must not cost files. By descriptors: the directory may belong to another user.
    """
    with directory(service, run) as opened:
        with os.scandir(opened) as entries:
            is_directory = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        is_known = not is_directory or not _FILES.isdisjoint(is_directory)
        if not is_known or any(is_directory.values()):
            return False
        for name in is_directory:
            remove(name, opened)
    os.rmdir(service, dir_fd=run)
    return True


class _Pins:
    """The directory of pins of the instance in a run directory, found before its probe is ended."""

    def __init__(self, settings: DownSettings, run: Path) -> None:
        default = next(
            one.default for one in msgspec.structs.fields(DownSettings) if one.name == "probe_pin_path"
        )
        self._is_given = settings.probe_pin_path is not default
        self._path = settings.probe_pin_path
        self._was_pinned = False
        if not self._is_given and (probe := _our_holder(ServiceDirectory(run, "probe").lock)) is not None:
            with contextlib.suppress(PermissionError):  # then ending the probe fails too, and says so
                self._path = pin_directory_of(probe) or self._path
        with contextlib.suppress(OSError):
            self._was_pinned = is_pinned(self._path)

    def remove(self, outcome: Outcome) -> None:
        """Unload what is pinned there, unless a probe of another instance holds it."""
        path = self._path
        try:
            if not path.exists():
                if self._was_pinned:  # its own probe has unloaded it
                    outcome.unloaded = path
                return
        except PermissionError:
            # Whoever may not look there can't have pinned anything there.
            if self._is_given:
                raise
            outcome.unseen = f"uid {os.geteuid()} may not look for pins of root's probe in {path.parent}"
            return
        if not path.is_dir():
            raise Fatal(f"--probe.pin-path {path} is not a directory; expected one of pins", Fatal.SETTINGS)
        with DirectoryLock(path) as lock:
            if not lock.acquire():
                if self._is_given:
                    holder = lock_holder(path)
                    raise Fatal(
                        f"{path} is held by a probe of another WATTLINE_RUN (pid {holder}): left alone"
                    )
                return
            if remove_pins(path):
                outcome.unloaded = path
        with contextlib.suppress(OSError):  # somebody else's things in it
            path.rmdir()
