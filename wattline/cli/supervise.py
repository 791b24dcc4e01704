# SPDX-License-Identifier: Apache-2.0
"""Child processes that are kept running: started, watched, restarted with back-off, stopped in order."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from wattline.errors import Fatal

_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.5, 30.0
_STEADY_S = 60.0  # who ran this long failed anew, not still
_STARTING_S = 30.0  # a child's first process that fails so early has never worked
_LINE_BYTES_MAX = 64 * 1024  # a line without an end must not fill our memory
_STOP_S = 5.0  # a service promises to stop within 2 s
_POLL_S = 0.2
# At the start not worth a retry: the same would happen again until the cause is removed.
HOPELESS = (Fatal.PERMISSION, Fatal.SETTINGS, Fatal.USAGE)

Say = Callable[[str, str], None]


@dataclass
class Child:
    """One service: how to start it, and how it is doing."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    starts: int = 0
    restart_s: float | None = None  # when to start it again; None while it runs or isn't wanted
    backoff_s: float = _BACKOFF_FIRST_S
    output: bytes = field(default=b"", repr=False)


class Supervisor:
    """Runs children until told to stop. `say(name, line)` takes every line of their output."""

    def __init__(self, children: Sequence[Child], say: Say) -> None:
        self._children = children
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._is_start = True
        self._wakeup, writer = socket.socketpair()
        self._wakeup_writer = writer
        for end in (self._wakeup, writer):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def start(self, name: str) -> int | None:
        """Start a child; 0 if we have been told to stop."""
        if self._stopping:
            return 0
        self._spawn(next(child for child in self._children if child.name == name))
        return None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> int | None:
        """Watch until something is ready, for so long at most; an exit code if all is to end.

        Until `watch`, a child that fails ends all: at the start its fault is there to be cured.
        """
        deadline_s = time.monotonic() + timeout_s
        while not ready() and time.monotonic() < deadline_s and not self._stopping:
            code = self._turn()
            if code is not None:
                return code
        return 0 if self._stopping else None

    def watch(self, interrupt: Callable[[], bool]) -> int | None:
        """Watch until told to stop (0), or until `interrupt`, which is called every turn, is true (None).

        An exit code if a child fails while it starts in a way that a restart can't cure.
        """
        self._is_start = False
        while not self._stopping:
            code = self._turn()
            if code is not None:
                return code
            if interrupt():
                return None
        return 0

    def stop(self) -> None:
        """Stop all for good."""
        self.stop_children([child.name for child in self._children])
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wakeup.close()
        self._wakeup_writer.close()

    def stop_children(self, names: Collection[str]) -> None:
        """Stop some, consumers first, so that the last frames still find their readers."""
        for child in reversed(self._children):
            if child.name not in names:
                continue
            child.restart_s = None
            if child.process is None:
                continue
            child.process.terminate()
            deadline_s = time.monotonic() + _STOP_S
            while child.process.poll() is None and time.monotonic() < deadline_s:
                self._read_output(_POLL_S / 4)
            if child.process.poll() is None:
                self._say("up", f"{child.name} did not stop within {_STOP_S:.0f} s: killed")
                child.process.kill()
                child.process.wait()
            self._drain(child)
            child.process = None

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _turn(self) -> int | None:
        self._read_output(_POLL_S)
        now_s = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                code = child.process.returncode
                self._drain(child)
                child.process = None
                if self._ends_all(child, code, now_s):
                    self._say(
                        "up",
                        f"{child.name} ended with exit code {code}, its last line says why; stopping all",
                    )
                    return code
                if now_s - child.started_s >= _STEADY_S:
                    child.backoff_s = _BACKOFF_FIRST_S
                how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
                self._say("up", f"{child.name} ended {how}; restarting in {child.backoff_s:g} s")
                child.restart_s = now_s + child.backoff_s
                child.backoff_s = min(child.backoff_s * 2, _BACKOFF_MAX_S)
            elif child.restart_s is not None and now_s >= child.restart_s:
                self._spawn(child)
        return None

    def _ends_all(self, child: Child, code: int, now_s: float) -> bool:
        """True for a failure at the start. Later, what a child can't do now may be possible again."""
        is_first = child.starts == 1 and now_s - child.started_s < _STARTING_S
        return (self._is_start and code > 0) or (is_first and code in HOPELESS)

    def _spawn(self, child: Child) -> None:
        # A session of its own: Ctrl-C at the terminal reaches us alone, and we stop them in order.
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started_s = time.monotonic()
        child.starts += 1
        child.restart_s = None
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _read_output(self, timeout_s: float) -> None:
        for key, _events in self._selector.select(timeout_s):
            if isinstance(key.data, Child):
                self._read(key.data)
            else:
                self._wakeup.recv(64)

    def _read(self, child: Child) -> bool:
        """Take what a child has written; False when there is nothing."""
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
            return False
        *lines, child.output = (child.output + data).split(b"\n")
        for text in lines:
            self._say(child.name, text.decode("utf-8", "backslashreplace"))
        if len(child.output) > _LINE_BYTES_MAX:
            self._say_rest(child)
        return True

    def _drain(self, child: Child) -> None:
        """What a child wrote just before it ended is often the reason."""
        assert child.process is not None
        assert child.process.stdout is not None
        while not child.process.stdout.closed and self._read(child):
            pass
        if not child.process.stdout.closed:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
        if child.output:
            self._say_rest(child)

    def _say_rest(self, child: Child) -> None:
        self._say(child.name, child.output.decode("utf-8", "backslashreplace"))
        child.output = b""


def prefixed(widest: int, put: Callable[[str], None]) -> Say:
    """Print lines behind the name they come from, coloured on a terminal."""
    colours = {"probe": 36, "power": 33, "metadata": 35, "calculator": 32, "exporter": 34}
    coloured = sys.stdout.isatty()

    def say(name: str, text: str) -> None:
        label = f"{name:{widest}} |"
        if coloured and name in colours:
            label = f"\x1b[{colours[name]}m{label}\x1b[0m"
        put(f"{label} {text}")

    return say
