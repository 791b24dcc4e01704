# SPDX-License-Identifier: Apache-2.0
"""Two moments at which loads stand still, so that the kernel's account and ours are of the same work."""

import contextlib
import time
from dataclasses import dataclass
from decimal import Decimal

from wattline.selftest.course import stolen_ns
from wattline.selftest.pipeline import Pipeline

from .books import check_books
from .metrics import Series

_PATIENCE_S = 60
_MARGIN_S = 1.5  # more than a tick: what one tick missed, the next has charged


@dataclass(frozen=True)
class Halt:
    """What both sides say meanwhile; `cpu_ns` by container."""

    series: list[Series]
    cpu_ns: dict[str, int]
    stolen_until_ns: int
    stolen_since_ns: int


def halt(pipeline: Pipeline, loads) -> Halt:
    """Freeze the loads, wait until everything up to there is attributed, read both, let them go on."""
    for load in loads:
        load.cgroup.freeze(frozen=True)
    frozen_s, stolen_until_ns = time.time(), stolen_ns()

    def attributed():
        series = pipeline.scrape()
        marks = [one.value for one in series if one.name == "wattline_zone_watermark_timestamp_seconds"]
        return series if min(marks, default=0) > frozen_s + _MARGIN_S else None

    series = pipeline.wait_until("all energy attributed", attributed, _PATIENCE_S)
    check_books(series)
    cpu_ns = {load.cgroup.name: load.cgroup.cpu_ns() for load in loads}
    since_ns = stolen_ns()
    for load in loads:
        load.cgroup.freeze(frozen=False)
    return Halt(series, cpu_ns, stolen_until_ns, since_ns)


def watch(pipeline: Pipeline, seconds: float) -> None:
    """The books close in every scrape meanwhile."""
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        time.sleep(1)
        with contextlib.suppress(OSError):
            check_books(pipeline.scrape())


class Stretch:
    """What came between two halts."""

    def __init__(self, begin: Halt, end: Halt) -> None:
        self._begin, self._end = begin, end

    @property
    def stolen_ns(self) -> int:
        """By other guests, on all CPUs, in steps of a tick."""
        return self._end.stolen_until_ns - self._begin.stolen_since_ns

    def used_ns(self, load) -> int:
        """By the kernel's account."""
        return self._end.cpu_ns[load.cgroup.name] - self._begin.cpu_ns[load.cgroup.name]

    def dynamic_j(self, load, zone: str) -> float:
        """Given to the load's container."""
        name = f"kepler_container_{zone}_joules_total"
        return float(
            _total(self._end.series, name, load.cgroup.name)
            - _total(self._begin.series, name, load.cgroup.name)
        )

    def node_dynamic_j(self, zone: str) -> float:
        """Of the node."""

        def total(series):
            return sum(
                one.value
                for one in series
                if one.name == f"kepler_node_{zone}_joules_total" and one.labels["mode"] == "dynamic"
            )

        return float(total(self._end.series) - total(self._begin.series))

    def check(self, load, zone: str, watts_per_cpu: float, limit_ratio: float) -> float:
        """The error of a load's energy, as a ratio; it must be within the limit, steal allowed for upward."""
        true_j = self.used_ns(load) / 1e9 * watts_per_cpu
        found_j = self.dynamic_j(load, zone)
        error = found_j / true_j - 1
        slack_j = (self.stolen_ns + 20_000_000) / 1e9 * watts_per_cpu if self.stolen_ns else 0
        print(f"{load.who:26} {zone:8} true {true_j:9.3f} J, ours {found_j:9.3f} J, error {error:+.3%}")
        assert true_j * (1 - limit_ratio) <= found_j <= true_j * (1 + limit_ratio) + slack_j
        return error


def _total(series: list[Series], name: str, container_id: str) -> Decimal:
    return sum(
        (
            one.value
            for one in series
            if one.name == name
            and one.labels["container_id"] == container_id
            and one.labels["mode"] == "dynamic"
        ),
        Decimal(),
    )
