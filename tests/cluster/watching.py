# SPDX-License-Identifier: Apache-2.0
"""Scrapes of a pipeline, one after the other in a thread of their own: what must hold in every one of them.

- node = Σ containers + unattributed + what waits for a name, to the microjoule, in every zone.
- No counter falls, and none that had a container's or pod's name in it is missing later.
- A container or pod has one set of labels for good: names that come late or change split no series.
"""

import threading
import time
from collections import defaultdict
from decimal import Decimal
from typing import Self

from tests.pipeline.books import ZONES
from tests.pipeline.ever_rising import NOT_FOR_EVER
from tests.pipeline.metrics import Series

_PAUSE_S = 0.2
_AWAITING = "wattline_awaiting_names_joules"
_IDS = ("container_id", "pod_uid")
# Labels that identify a series of one container or pod, beside its id.
_PARTS = ("zone", "mode", "source", "vm_id", "unit", "pid")


class Watching:
    """`with Watching(pipeline) as watching`: what was wrong in any scrape fails the test at the end."""

    def __init__(self, pipeline) -> None:
        self.pipeline = pipeline
        self._is_over = threading.Event()
        self.faults: list[str] = []
        self._counters: dict[tuple, Decimal] = {}
        self._labels: dict[tuple, dict[str, str]] = {}
        self._lasting: set[tuple] = set()
        self.count = 0
        self.awaited_most = Decimal(0)  # joules that waited for a name in one scrape, at most
        self.series: list[Series] = []

    def __enter__(self) -> Self:
        self.next()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, kind, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        print(f"{self.count} scrapes; at most {self.awaited_most} J waited for a name")
        if kind is None:
            assert not self.faults, "\n".join(self.faults[:20])
        else:
            print("\n".join(self.faults[:20]))

    def until(self, condition, seconds: float = 30):
        """The condition's first true value for the series of a scrape."""
        deadline_s = time.monotonic() + seconds
        while not (found := condition(self.series)):
            if time.monotonic() > deadline_s:
                raise AssertionError("did not happen in time; log:\n" + "\n".join(self.pipeline.log[-60:]))
            assert self.pipeline.process.poll() is None, "\n".join(self.pipeline.log)
            time.sleep(0.05)
        return found

    def next(self) -> list[Series]:
        """One more scrape, checked."""
        series = self.pipeline.scrape()
        self._check(series)
        self.count += 1
        self.series = series
        return series

    def _run(self) -> None:
        while not self._is_over.wait(_PAUSE_S):
            try:
                self.next()
            except Exception as error:  # noqa: BLE001 the test fails for it at the end
                self.faults.append(f"{type(error).__name__}: {error}")

    def _check(self, series: list[Series]) -> None:
        self.faults += faults_of_sums(series)
        awaiting = (
            one.value for one in series if one.name == _AWAITING and one.labels["level"] == "container"
        )
        self.awaited_most = max(self.awaited_most, sum(awaiting, Decimal(0)))
        seen = set()
        for one in series:
            if not one.name.endswith("_total") or one.name.startswith(NOT_FOR_EVER):
                continue
            key = (one.name, *sorted(one.labels.items()))
            seen.add(key)
            if one.value < self._counters.get(key, 0):
                self.faults.append(f"fell: {key}: {self._counters[key]}, then {one.value}")
            self._counters[key] = one.value
            self._check_labels(one)
        gone = self._lasting - seen
        self.faults += [f"missing: {key}" for key in gone]
        self._lasting = {key for key in seen if any(name in _IDS for name, _value in key[1:])}

    def _check_labels(self, one: Series) -> None:
        parts = {name: value for name, value in one.labels.items() if name in (*_IDS, *_PARTS)}
        if not any(name in parts for name in _IDS):
            return
        key = (one.name, *sorted(parts.items()))
        before = self._labels.setdefault(key, one.labels)
        if before != one.labels:
            self.faults.append(f"split: {one.name}: {before}, then {one.labels}")


def faults_of_sums(series: list[Series]) -> list[str]:
    """Zones of a scrape whose sum is not the node's, in words."""
    whole: dict[str, Decimal] = defaultdict(Decimal)
    parts: dict[str, Decimal] = defaultdict(Decimal)
    for one in series:
        level, _, rest = one.name.removeprefix("kepler_").partition("_")
        zone = rest.removesuffix("_joules_total")
        if one.name.startswith("kepler_") and zone in ZONES:
            if level == "node":
                whole[zone] += one.value
            elif level == "container":
                parts[zone] += one.value
        elif one.name == "wattline_unattributed_joules_total" or (
            one.name == _AWAITING and one.labels["level"] == "container"
        ):
            parts[one.labels["zone"]] += one.value
    return [
        f"{zone}: node {whole[zone]}, parts {parts[zone]}" for zone in whole if whole[zone] != parts[zone]
    ]
