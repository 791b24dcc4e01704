# SPDX-License-Identifier: Apache-2.0
"""The eBPF program as a source of activity: found running, loaded, replaced by a newer version, unloaded."""

import contextlib
import errno
import os
import select
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from wattline import isolated
from wattline.errors import Fatal
from wattline.pins import is_pin_directory, remove_pins, tidy
from wattline.runtime import Runtime
from wattline.wire.frames import SourceState
from wattline.wire.rundir import DirectoryLock, Lock, lock_holder
from wattline.wire.shared import file_at

from ..backend import Sample
from ..errors import Detached, Unavailable
from ..parse import parse_counters, parse_undisturbed_cpus
from ..settings import ProbeSettings
from . import cpus, layout, perf_events
from .attachment import Attachment
from .kernel_facts import read_facts
from .mounts import BPFFS, have_mounted, require_bpffs
from .pinned import PinnedProgram
from .reader import COUNTERS, SOURCE, EbpfReader
from .refusal import GET, PERF_EVENT, Refusal, explanation

_LOADER_TIMEOUT_S = 60  # compiling takes about a second; a starved machine gets its time
PublishLast = Callable[[int, Sample], None]


class EbpfBackend:
    """Reads the program that the settings ask for; loads it if it isn't there."""

    source = SOURCE

    def __init__(self, settings: ProbeSettings, runtime: Runtime, publish_last: PublishLast) -> None:
        """`publish_last` is given the epoch and the last sample of a program that is about to be replaced."""
        self._settings = settings
        self._runtime = runtime
        self._log = log = runtime.log
        self._sysfs = cpus.tree(settings.path_sysfs)
        self._program = wanted_program(settings)
        self._refused: list[SourceState] = []
        self._directory = settings.probe_pin_path / self._program.pin_name
        self._lock = _lock_pins(self._directory.parent)
        self._locked = file_at(self._directory.parent)
        try:
            program = self._open(self._directory, self._program.features)
            if program is None:
                program = self._replace(publish_last)
        except BaseException:
            tidy(self._directory.parent)  # before anybody else may have the lock
            self._lock.close()
            raise
        for path in remove_pins(self._directory.parent, keep=self._directory):
            log.info("unloaded", pins=path)
        log.info("attached", pins=self._directory, epoch=program.epoch)
        if refusal := refused_counters(settings):
            log.warning("no_counters", cause=refusal, lost="energy goes by CPU time instead of cycles")
            self._refused = [SourceState(name=COUNTERS, up=False, reason=refusal)]
        self._attachment = Attachment(self._directory)
        self._reader = self._read(program)
        self.epoch = program.epoch

    @property
    def has_counters(self) -> bool:
        """Whether hardware counters are among what is recorded."""
        return bool(self._program.features.counters)

    def sample(self) -> Sample:
        """Charge what is running, then read all tables.

        Raises Detached if the kernel may have stopped calling the program before that.
        """
        sample = self._reader.sample()
        if damage := self._attachment.damage():
            raise Detached(
                f"the eBPF program is no longer attached: {damage}; expected its pins to stay while the "
                "probe runs. CPU time is unattributed (probe_gap) until it is loaded anew: start the probe "
                "again, unless a supervisor does"
            )
        return replace(sample, sources=[*sample.sources, *self._refused])

    def retire(self, ended_before_ns: int) -> int:
        """Let go of what ended before a time, and make good what the hooks have missed."""
        return self._reader.retire(ended_before_ns)

    def close(self, *, keep: bool) -> None:
        """Unload the program, unless it is kept for the next probe."""
        self._reader.close()
        if file_at(self._directory.parent) != self._locked:
            self._log.info(
                "left", pins=self._directory, cause="it is no longer the directory that was locked"
            )
        elif keep and not self._attachment.damage():
            self._log.info("kept", pins=self._directory)
        else:
            remove_pins(self._directory.parent)
            tidy(self._directory.parent)
        self._lock.close()

    def _read(self, program: PinnedProgram) -> EbpfReader:
        return EbpfReader(program, self._sysfs, self._settings.path_procfs, undisturbed_cpus(self._settings))

    def _open(self, directory: Path, features: layout.Features) -> PinnedProgram | None:
        try:
            return PinnedProgram(directory, features, self._program.cpus)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            text = explanation(Refusal(GET, f"pins in {directory}", error.errno or 0), read_facts())
            raise Unavailable(text, Fatal.PERMISSION) from None

    def _replace(self, publish_last: PublishLast) -> PinnedProgram:
        """Load ours. What another version has counted is read once more, right before it is detached."""
        begun = time.monotonic()
        with self._former_readers() as former:
            # Once now, too: while ours is compiled, subscribers find us, and will not miss the last one.
            for reader in former:
                publish_last(reader.epoch, reader.sample())
            with self._compiled() as (loader, errors):
                for reader in former:
                    publish_last(reader.epoch, reader.sample())
                for path in remove_pins(self._directory.parent):
                    self._log.info("unloaded", pins=path)
                assert loader.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # it has died; its exit code tells more
                    loader.stdin.write(b"attach\n")
                    loader.stdin.close()
                _await(loader, errors)
        self._log.info("loaded", seconds=round(time.monotonic() - begun, 2), pins=self._directory)
        program = self._open(self._directory, self._program.features)
        if program is None:
            raise Fatal(
                f"the loader succeeded, but there is no program at {self._directory}: was it removed?"
            )
        return program

    @contextlib.contextmanager
    def _former_readers(self) -> Iterator[list[EbpfReader]]:
        """Readers of other versions' pins, as far as their tables are laid out as ours."""
        readers: list[EbpfReader] = []
        try:
            for path in sorted(self._directory.parent.iterdir()):
                features = layout.readable_features(path.name, self._program)
                program = self._open(path, features) if features is not None else None
                if program is not None:
                    # No CPU is left out this once: what it has in its cache would be lost.
                    readers.append(EbpfReader(program, self._sysfs, self._settings.path_procfs))
                elif is_pin_directory(path):
                    what = "tables are laid out differently" if features is None else "pins are incomplete"
                    self._runtime.count(
                        "unreadable",
                        f"a program whose {what} is removed: what it counted since its last frame is missing",
                        pins=path,
                    )
            yield readers
        finally:
            for reader in readers:
                reader.close()

    @contextlib.contextmanager
    def _compiled(self) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
        """A loader that has compiled the program and waits for the word to attach it; and its complaints."""
        arguments = (str(self._directory), msgspec.json.encode(self._program).decode())
        # Not a pipe: the kernel's log of a refused program is longer than one holds.
        with (
            os.fdopen(os.memfd_create("loader"), "w+b") as errors,
            subprocess.Popen(  # noqa: S603 our own module
                isolated.command("services.probe.ebpf.load", *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as loader,
        ):
            try:
                assert loader.stdout is not None
                poll = select.poll()  # select(2) knows no descriptor above 1023
                poll.register(loader.stdout, select.POLLIN)
                readable = poll.poll(1000 * _LOADER_TIMEOUT_S)
                if not readable or not loader.stdout.readline():
                    _await(loader, errors, 0 if not readable else _LOADER_TIMEOUT_S)
                    raise Fatal("the loader ended early and gave no reason")
                yield loader, errors
            finally:
                loader.kill()


def _await(loader: subprocess.Popen[bytes], errors: BinaryIO, timeout_s: float = _LOADER_TIMEOUT_S) -> None:
    """Wait for a loader to end well. Raises Fatal saying why it did not."""
    try:
        exit_code = loader.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise Fatal(
            f"the loader did not finish in {_LOADER_TIMEOUT_S} s, expected one or two: an overloaded machine?"
        ) from None
    if exit_code:
        errors.seek(0)
        raise _failure(exit_code, errors.read().decode("utf-8", "backslashreplace"))


def _failure(exit_code: int, errors: str) -> Fatal:
    if exit_code < 0:  # it says nothing of what this machine can do
        return Fatal(f"the loader was killed by signal {-exit_code}: is the machine out of memory?")
    return Unavailable(f"loading failed: {errors.strip()[-1500:]}", exit_code or Fatal.FAILED)


def wanted_program(settings: ProbeSettings) -> layout.Program:
    """The program for these settings on this machine."""
    sysfs = cpus.tree(settings.path_sysfs)
    online = min(cpus.online(sysfs))
    wanted = parse_counters(settings.probe_counters)
    return layout.Program(
        process_rows=settings.probe_process_rows,
        cgroup_rows=settings.probe_cgroup_rows,
        cpus=cpus.possible_count(sysfs),
        features=layout.Features(
            counters=tuple(name for name in wanted if not perf_events.counter_error(name, online)),
            frequency=bool(cpus.frequencies_khz(sysfs, [online])),
        ),
        self_flush=bool(undisturbed_cpus(settings)),
    )


def refused_counters(settings: ProbeSettings) -> str:
    """Why the kernel refuses counters that the settings ask for; empty if it does not.

    A machine that hasn't got them is not refused anything.
    """
    online = min(cpus.online(cpus.tree(settings.path_sysfs)))
    for name in parse_counters(settings.probe_counters):
        error = perf_events.counter_error(name, online)
        if error in (errno.EPERM, errno.EACCES):
            return explanation(Refusal(PERF_EVENT, f"the counter {name}", error), read_facts())
    return ""


def undisturbed_cpus(settings: ProbeSettings) -> set[int]:
    """CPUs that must not be interrupted for a sample."""
    wanted = parse_undisturbed_cpus(settings.probe_undisturbed_cpus)
    return cpus.undisturbed(cpus.tree(settings.path_sysfs)) if wanted is None else wanted


def _lock_pins(path: Path) -> Lock:
    """One probe per kernel: two that share pins would unload each other's program."""
    try:
        if path.parent == BPFFS:
            have_mounted("bpf", BPFFS)
        elif path.parent.is_dir() and not path.is_mount():
            require_bpffs(path.parent.resolve())
        path.mkdir(mode=0o700, exist_ok=True)
    except PermissionError as error:
        raise Unavailable(f"{error}; start the probe as root", Fatal.PERMISSION) from None
    except OSError as error:
        raise Fatal(
            f"cannot make {path}: {error.strerror}; expected --probe.pin-path in a mounted BPF file system",
            Fatal.SETTINGS,
        ) from None
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise Fatal(
            f"{path} is not a directory that only uid {os.geteuid()} may write to: remove it, or choose "
            "another --probe.pin-path",
            Fatal.PERMISSION,
        )
    if path.is_mount():
        raise Fatal(
            f"--probe.pin-path {path} is a whole file system; expected a directory of our own in it",
            Fatal.SETTINGS,
        )
    lock = DirectoryLock(path)
    if not lock.acquire():
        raise Fatal(
            f"another probe (pid {lock_holder(path)}) holds {path}; a kernel needs one probe only, "
            "stop that one or give this one its own --probe.pin-path"
        )
    return lock
