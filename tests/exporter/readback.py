# SPDX-License-Identifier: Apache-2.0
"""Reads the text format as others would: names and labels by prometheus-client, values without rounding."""

from decimal import Decimal
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from services.exporter import scrape
from services.exporter.inputs import Inputs
from services.exporter.self_metrics import HttpCounts

from .frames import NOW_NS


class Series(NamedTuple):
    name: str
    labels: dict[str, str]  # without empty ones, which Prometheus takes for absent
    value: Decimal


def read(text: bytes) -> list[Series]:
    series = []
    for line in text.decode().split("\n")[:-1]:
        if line.startswith("#"):
            continue
        (family,) = text_string_to_metric_families(line + "\n")
        (sample,) = family.samples
        labels = {name: value for name, value in sample.labels.items() if value}
        series.append(
            Series(line.partition("{")[0].partition(" ")[0], labels, Decimal(line.rpartition(" ")[2]))
        )
    return series


def total(series: list[Series], name: str, **labels: str) -> Decimal:
    """Sum over the series of that name that have these labels (an empty one: that have none of it)."""
    return sum(
        (
            one.value
            for one in series
            if one.name == name and all(one.labels.get(key, "") == value for key, value in labels.items())
        ),
        start=Decimal(0),
    )


def scraped(energy) -> list[Series]:
    """What a scrape shows of one energy frame."""
    return read(scrape.text(Inputs(energy=energy), HttpCounts({}, 0), "x86_64", NOW_NS))
