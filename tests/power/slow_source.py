# SPDX-License-Identifier: Apache-2.0
"""A source whose calls last until a test lets them return."""

import queue
import threading

from services.power.source import MEASURED, Readings, Zone, ZoneEnergy
from wattline.wire.frames import SourceState

NAME = "slow"
_WAIT_S = 10.0


def row(energy_uj=0, mono_ns=5, **more) -> ZoneEnergy:
    return ZoneEnergy(Zone("platform", "0", NAME, MEASURED), 1, mono_ns, energy_uj, 0, **more)


def good(*rows, notes=()) -> Readings:
    return Readings(list(rows), SourceState(name=NAME, up=True), notes)


class SlowSource:
    """Each call waits for `let`, which returns once the next call is under way."""

    def __init__(self):
        self.calls = []
        self.threads = set()
        self.formers = []
        self._answers = queue.SimpleQueue()
        self._entered = threading.Semaphore(0)

    def let(self, answer) -> None:
        """Let the call that is under way give or raise this, and wait for the next one."""
        self._answers.put(answer)
        self.entered()

    def let_last(self, answer) -> None:
        """The same, where no other call follows."""
        self._answers.put(answer)

    def entered(self) -> None:
        """Wait until a call is under way."""
        assert self._entered.acquire(timeout=_WAIT_S)

    def _call(self, name):
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        self._entered.release()
        answer = self._answers.get(timeout=_WAIT_S)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def open(self, former, _now_ns):
        self.formers.append(former)
        self._call("open")
        return self

    def read(self, _now_ns):
        return self._call("read")

    def begin_again(self):
        self.calls.append("begin_again")

    def close(self):
        self._call("close")
