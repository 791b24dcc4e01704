# SPDX-License-Identifier: Apache-2.0
"""How long the source waits before it asks again, by what went before."""

import threading

import pytest

from services.metadata.cluster.backoff import Backoff
from services.metadata.cluster.errors import Failed
from services.metadata.cluster.known_pods import KnownPods
from services.metadata.cluster.report import Report
from services.metadata.cluster.worker import Worker
from wattline.log import Log

from .reading import read_pod


class Rounds:
    """Rounds that all fail: (seconds that one takes, whether pods are known in it) each."""

    has_told = True

    def __init__(self, report: Report, rounds) -> None:
        self.known = KnownPods(read_pod)
        self.now_s = 0.0
        self.is_over = threading.Event()
        self._report, self._rounds = report, list(rounds)

    def round(self) -> float:
        if not self._rounds:
            self.is_over.set()
            return 0.1
        seconds, is_good = self._rounds.pop(0)
        self.now_s += seconds
        if is_good:
            self._report.works()
        raise Failed("cut")

    def abort(self) -> None:
        """Nothing is in progress."""

    def close(self) -> None:
        """Nothing is open."""


class Waits(Backoff):
    """Remembers what it told, and tells the thread not to wait."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.told_s: list[float] = []

    def failed(self, asked_s: float = 0.0) -> float:
        self.told_s.append(super().failed(asked_s))
        return 0.001


@pytest.mark.parametrize(
    ("rounds", "waits_s"),
    [
        ([(0, False)] * 4, [1, 2, 4, 8]),
        ([(0, False)] * 3 + [(300, True), (0, False)], [1, 2, 4, 1, 2]),
        # A server that accepts a watch and ends it at once is not asked once a second by all nodes.
        ([(0, True)] * 4, [1, 2, 4, 8]),
        # Nor one that doesn't answer in time.
        ([(20, False)] * 4, [1, 2, 4, 8]),
    ],
)
def test_a_failure_after_it_had_worked_is_a_first_one(tmp_path, rounds, waits_s):
    """A watch that was cut after a time does not go on with the waits of an outage before it."""
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        report = Report(Log("metadata", stream=log), lambda _event, _cause: None)
        made, waits = Rounds(report, rounds), Waits()
        worker = Worker(made, report, waits, clock=lambda: made.now_s)
        assert made.is_over.wait(10)
        worker.close()
    assert waits.told_s == waits_s
