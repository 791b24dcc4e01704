# SPDX-License-Identifier: Apache-2.0
"""Watches the metrics: every scrape is checked for closed books, and what is waited for is seen in them."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from .pipeline import Pipeline
from .scrape import Series, gauges, residuals_uj, watermark_unix_s
from .truth import Residual

_PATIENCE_S = 60.0
_SCRAPE_EVERY_S = 2.0
_STEADY_S = 5.0  # for so long idle power has not moved, once it is learned
_STEADY_RATIO = 0.005
_MARGIN_S = 1.5  # more than a tick: what one tick missed, the next has charged
_Value = TypeVar("_Value")


class Observer:
    """Of one pipeline. `residual` is what all scrapes have said."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._scrapes = 0
        self._worst_uj: dict[str, int] = {}

    @property
    def residual(self) -> Residual:
        """The books so far."""
        return Residual(self._scrapes, dict(self._worst_uj))

    def scrape(self) -> list[Series]:
        """All metrics; those from before the first energy have no zones. Raises OSError."""
        series = self._pipeline.scrape()
        residuals = residuals_uj(series)
        self._scrapes += bool(residuals)
        for zone, residual_uj in residuals.items():
            self._worst_uj[zone] = max(self._worst_uj.get(zone, 0), residual_uj, key=abs)
        return series

    def watch(self, seconds: float) -> None:
        """Scrape now and then."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _SCRAPE_EVERY_S))
            with contextlib.suppress(OSError):
                self.scrape()

    def wait_ready(self) -> None:
        """Until the exporter says so."""
        self._wait("ready", self._pipeline.is_ready)

    def wait_steady(self) -> bool:
        """Until idle power has not moved for some time; False if it goes on moving."""
        since_s = time.monotonic()
        last: Mapping[str, float] = {}

        def steady(series: list[Series]) -> bool:
            nonlocal since_s, last
            now = idle_watts(series)
            if not alike(last, now):
                since_s, last = time.monotonic(), now
            return bool(last) and time.monotonic() - since_s > _STEADY_S

        return steady(self.last_scrape(steady, _PATIENCE_S))

    def wait_attributed(self, until_unix_s: float) -> list[Series]:
        """The first scrape in which everything up to a time, and some more, is attributed."""

        def attributed() -> list[Series] | None:
            series = self.scrape()
            return series if watermark_unix_s(series) > until_unix_s + _MARGIN_S else None

        return self._wait("all energy attributed", attributed)

    def last_scrape(self, is_wanted: Callable[[list[Series]], bool], patience_s: float) -> list[Series]:
        """The first scrape that is as wanted, or the last one tried."""
        deadline_s = time.monotonic() + patience_s
        while True:
            series = self._wait("a scrape", self.scrape)
            if is_wanted(series) or time.monotonic() > deadline_s:
                return series
            time.sleep(_SCRAPE_EVERY_S / 4)

    def _wait(self, what: str, condition: Callable[[], _Value | None]) -> _Value:
        return self._pipeline.wait_until(what, condition, _PATIENCE_S)


def idle_watts(series: list[Series]) -> dict[str, float]:
    """Idle power by zone, of those where it is known."""
    return gauges(series, "wattline_zone_idle_watts")


def alike(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether the same zones have nearly the same figures."""
    return before.keys() == after.keys() and all(
        abs(after[zone] - before[zone]) <= _STEADY_RATIO * before[zone] for zone in before
    )
