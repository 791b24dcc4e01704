# SPDX-License-Identifier: Apache-2.0
"""Which pod holds which device: asks the kubelet's pod-resources socket, in a thread of its own."""

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from wattline.wire.frames import SourceState

from .callbacks import Count
from .grpc_unary import CallError, UnaryCall
from .held_devices import ANSWER_BYTES_MAX, HeldDevice, read_answer

SOURCE = "pod_resources"
UNREACHABLE, REFUSED, BAD_ANSWER = (f"{SOURCE}_{word}" for word in ("unreachable", "refused", "bad_answer"))
NO_ANSWER_YET = "no answer yet"
NO_PACKAGE = "the package h2 isn't installed: pip install 'wattline[kubernetes]'"
_PATH = "/v1.PodResourcesLister/List"
PERIOD_S, ANSWER_S = 10.0, 5.0
# A kubelet's restart takes some seconds; after a minute a device may well be another pod's.
KEPT_S = 60.0
_CLOSE_S = 0.8
_NOTES_MAX = 16
_CHUNK_BYTES = 65536
_CURES = {
    "UNIMPLEMENTED": "is the kubelet at least of Kubernetes 1.20?",
    "PERMISSION_DENIED": "the kubelet refuses this user: ask as root",
    "RESOURCE_EXHAUSTED": "others ask this kubelet too often",
    "UNAVAILABLE": "the kubelet is starting or stopping",
    "DEADLINE_EXCEEDED": "the kubelet is too busy",
}


class _Failed(Exception):  # noqa: N818 named by what happened
    """Why there is no answer, in words; `event` is what it is counted as."""

    def __init__(self, event: str, text: str) -> None:
        super().__init__(text)
        self.event = event


class PodResources:
    """The devices that pods hold, as last told. Only `close` ever waits, and that for 0.8 s at most."""

    def __init__(
        self,
        path: str,
        count: Count,
        *,
        period_s: float = PERIOD_S,
        answer_s: float = ANSWER_S,
        kept_s: float = KEPT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to ask at once. `count` (Runtime.count) is called in `state()` only.

        `answer_s`: how long a call may take in all. `kept_s`: how long an answer counts without a newer one.
        """
        self._path = path
        self._count = count
        self._period_s = period_s
        self._answer_s = answer_s
        self._kept_s = kept_s
        self._clock = clock
        # Written by the thread and read by the loop, each whole in one step.
        self._told: tuple[float, tuple[HeldDevice, ...]] = (clock(), ())
        self._state = SourceState(name=SOURCE, up=False, reason=NO_ANSWER_YET)
        self._notes: deque[tuple[str, str]] = deque(maxlen=_NOTES_MAX)
        self._connection: socket.socket | None = None
        self._guard = threading.Lock()  # of the connection: a closed descriptor's number may be another's
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-resources", daemon=True)
        self._thread.start()

    def devices(self) -> tuple[HeldDevice, ...]:
        """As last told; none once that was too long ago. The same object while nothing has changed."""
        told_s, devices = self._told
        return devices if self._clock() - told_s <= self._kept_s else ()

    def state(self) -> SourceState:
        """Up, or why not. Counts what has failed since the last call."""
        while self._notes:
            self._count(*self._notes.popleft())
        return self._state

    def close(self) -> None:
        """End the thread, in the middle of a call if need be."""
        self._stop.set()
        with self._guard:
            if self._connection is not None:
                # The thread's recv or send returns. It alone closes the socket.
                _end(self._connection)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                devices = self._ask()
                before = self._told[1]
                self._told = self._clock(), before if devices == before else devices
                self._state = SourceState(name=SOURCE, up=True)
            except _Failed as failed:
                self._fail(failed.event, str(failed))
            except Exception as error:  # noqa: BLE001 the thread must live on; the loop says what it was
                self._fail(f"{SOURCE}_failed", f"unexpected {type(error).__name__}")
            self._stop.wait(self._period_s)

    def _fail(self, event: str, reason: str) -> None:
        if self._stop.is_set():
            return
        text = f"{self._path}: {reason}"
        self._state = SourceState(name=SOURCE, up=False, reason=text)
        self._notes.append((event, text))

    def _ask(self) -> tuple[HeldDevice, ...]:
        """What the kubelet answers now. Raises _Failed."""
        try:
            call = UnaryCall(_PATH, round(self._answer_s * 1000), ANSWER_BYTES_MAX)
        except ModuleNotFoundError:
            raise _Failed(UNREACHABLE, NO_PACKAGE) from None
        try:
            self._exchange(call, time.monotonic() + self._answer_s)
            answer = call.message()
        except OSError as error:
            raise _Failed(UNREACHABLE, self._explain(error)) from None
        except CallError as error:
            event = REFUSED if error.status else BAD_ANSWER
            cure = _CURES.get(error.status, "is it a kubelet's socket?" if not error.status else "")
            raise _Failed(event, f"{error}: {cure}" if cure else str(error)) from None
        try:
            return read_answer(answer)
        except ValueError as error:
            raise _Failed(BAD_ANSWER, f"expected a list of pods' resources: {error}") from None

    def _exchange(self, call: UnaryCall, deadline_s: float) -> None:
        """One connection for one call: kept open, it would be a kubelet's that has restarted."""
        with socket.socket(socket.AF_UNIX) as connection:
            self._become(connection)
            try:
                connection.settimeout(_left_s(deadline_s))
                connection.connect(self._path)
                while not call.is_over:
                    connection.settimeout(_left_s(deadline_s))
                    # What a server that has closed the connection said before can still be received.
                    with contextlib.suppress(BrokenPipeError):
                        connection.sendall(call.to_send())
                    connection.settimeout(_left_s(deadline_s))
                    call.receive(connection.recv(_CHUNK_BYTES))
            finally:
                self._become(None)

    def _become(self, connection: socket.socket | None) -> None:
        with self._guard:
            self._connection = connection
            if connection is not None and self._stop.is_set():
                _end(connection)

    def _explain(self, error: OSError) -> str:
        cures: dict[type, str] = {
            FileNotFoundError: "does a kubelet run here? In a container its directory has to be mounted: not "
            "the socket alone, which is made anew when the kubelet restarts",
            PermissionError: f"the socket is root's, and user {os.geteuid()} may not open it",
            ConnectionRefusedError: "the kubelet isn't running",
            TimeoutError: f"no answer within {self._answer_s:g} s",
            BlockingIOError: "it takes no more connections: does the kubelet hang?",
        }
        cure = cures.get(type(error), "is it a kubelet's socket?")
        return (
            cure if isinstance(error, TimeoutError) else f"{error.strerror or type(error).__name__}: {cure}"
        )


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it isn't connected yet: connecting to a Unix socket never waits


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
