# SPDX-License-Identifier: Apache-2.0
"""Questions to processes: in which container each one is, where its cgroup2 doesn't tell."""

import os
from pathlib import Path

from wattline.log import Log
from wattline.wire.frames import Activity, SourceState

from . import procfs
from .cgroup_path import CgroupIdentity, identify, identify_owned, user_delegation
from .directory import Directory, ProcessKey
from .hidden import explanation
from .places import Places
from .process_cgroup import cgroup2_tells, container_of

_SOURCE = "processes"
# Processes asked for their cgroups per frame; the others wait for the next. One takes some 30 µs.
_ASKED_MAX = 2000
BY_PROCESS = (
    "containers are found by their processes, in /proc/PID/cgroup: a process that lived shorter than a tick "
    "counts as system_processes, as does the time of processes no longer listed (docs/install.md)"
)


class Processes:
    """Asks each process once and takes the answers to the directory; says if processes are hidden."""

    def __init__(self, directory: Directory, places: Places, path: Path, log: Log) -> None:
        """`path`: where the host's proc file system is mounted."""
        self._directory = directory
        self._places = places
        self._path = path
        self._log = log
        self._said_by_process = False
        self._proc_options: tuple[str, ...] = ()
        self._hidden_reason: str | None = None  # empty: none are hidden; None: none was asked so far

    def ask(self, activity: Activity, *, uses_cgroup1: bool) -> None:
        """Read once of each new process what cgroup v1 says of it, where cgroup2 tells no container."""
        is_visible = self._look_behind(activity)
        keys = self._directory.unasked(activity, uses_cgroup1=uses_cgroup1)[:_ASKED_MAX]
        for key in keys:
            self._ask(key)
        if keys or self._hidden_reason:
            self._say_hidden(len(self._directory.hidden(activity)), is_visible=is_visible)

    def source(self) -> list[SourceState]:
        """Whether all of them can be read; empty where none is asked."""
        reason = self._hidden_reason
        return [] if reason is None else [SourceState(name=_SOURCE, up=not reason, reason=reason)]

    def say_once(self, event: str, cause: str) -> None:
        """How this host is, rather than what goes wrong: one line is enough."""
        if not self._said_by_process:
            self._said_by_process = True
            self._log.warning(event, cause=cause)

    def _ask(self, key: ProcessKey) -> bool:
        """Ask one process; True if it could be read: it is neither hidden nor gone."""
        text = procfs.cgroups_of(self._path, *key)
        if text is procfs.Unread.HIDDEN:
            self._directory.hide(key)
            return False
        if isinstance(text, procfs.Unread):
            self._directory.answer(key, None)
            return False
        identity = container_of(text, self._of_cgroup1)
        self._directory.answer(key, identity)
        if identity.container_id and not cgroup2_tells(text, self._identify):
            self.say_once("containers_by_process", BY_PROCESS)
        return True

    def _look_behind(self, activity: Activity) -> bool:
        """Have all hidden processes asked again once one of them can be seen: most often none can.

        That hidden processes have ended shows nothing. Where none is left to be asked, changed options of the
        mount are enough: otherwise the cure would not be noticed.
        """
        if not self._hidden_reason:
            return False
        hidden = self._directory.hidden(activity)
        if hidden:
            is_visible = self._ask(hidden[0])
        else:
            options = procfs.mount_options(self._path)
            is_visible = bool(options) and options != self._proc_options
        if is_visible:
            self._directory.reveal()
        return is_visible

    def _say_hidden(self, count: int, *, is_visible: bool) -> None:
        """Say so once when processes become hidden, and once when they are visible again."""
        was_hidden = bool(self._hidden_reason)
        if count and not was_hidden:
            self._proc_options = procfs.mount_options(self._path)
        if count:
            self._hidden_reason = explanation(count, self._path, self._proc_options, os.getgid())
        elif is_visible or not was_hidden:
            self._hidden_reason = ""
        if count and not was_hidden:
            self._log.warning("processes_hidden", cause=self._hidden_reason)
        elif was_hidden and not self._hidden_reason:
            self._log.info("processes_visible", procfs=self._path)

    def _identify(self, path: str) -> CgroupIdentity:
        return identify(path, self._places)

    def _of_cgroup1(self, path: str) -> CgroupIdentity:
        """Owners of v1's directories are not looked up: only what systemd gave to a user is told apart."""
        return identify_owned(path, user_delegation(path), self._places)
