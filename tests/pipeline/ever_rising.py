# SPDX-License-Identifier: Apache-2.0
"""Scrape after scrape of one pipeline: in each the books close, and no counter falls."""

import urllib.error

from .books import check_books
from .metrics import read
from .services import fetch

# A stage's own counters begin again with its process; a pid may be given to another process of the same name.
NOT_FOR_EVER = ("wattline_stage_", "wattline_exporter_", "kepler_process_")


class Scrapes:
    """Of one exporter; `count` those with energy in them, `distinct` those of them that were new."""

    def __init__(self, exporter) -> None:
        self._exporter = exporter
        self._counters = {}
        self._text, self._series = b"", []
        self._has_energy = False
        self.count = self.distinct = 0

    def next(self):
        """The series of one more scrape."""
        text = fetch(self._exporter)
        if text != self._text:
            self._text, self._series = text, read(text)
            self._check(self._series)
            self.distinct += self._has_energy
        self.count += self._has_energy
        return self._series

    def _check(self, series):
        self._has_energy = any(
            one.name.startswith("kepler_node_") and one.name.endswith("_joules_total") for one in series
        )
        if self._has_energy:
            check_books(series)
        for one in series:
            if one.name.endswith("_total") and not one.name.startswith(NOT_FOR_EVER):
                key = (one.name, *sorted(one.labels.items()))
                assert one.value >= self._counters.get(key, 0), (key, one.value, self._counters[key])
                self._counters[key] = one.value

    def next_if_up(self):
        """The same; None while the exporter is down."""
        try:
            return self.next()
        except (urllib.error.URLError, ConnectionError):
            return None
