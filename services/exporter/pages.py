# SPDX-License-Identifier: Apache-2.0
"""The paths that can be asked for, and what each answers."""

import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from http import HTTPStatus

from wattline.wire.frames import Energy

from . import page_workloads
from .http import Response
from .inputs import Inputs, stage_verdict, why_not_ready
from .self_metrics import sources
from .slots import OWNER, standings
from .snapshot import Snapshots

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The page needs nothing but itself, so nothing that got into it could load or run anything.
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'"}


class Pages:
    """Answers requests from the snapshots."""

    def __init__(self, snapshots: Snapshots, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._snapshots = snapshots
        self._now_ns = now_ns

    def answer(self, path: str, *, gzip_accepted: bool = False) -> Response:
        """The response for a path."""
        match path:
            case "/metrics":
                return self._metrics(gzip_accepted=gzip_accepted)
            case "/-/healthy":
                return Response(HTTPStatus.OK, b"Healthy.\n")
            case "/-/ready":
                return self._ready()
            case "/":
                shown = self._snapshots.current().inputs.energy
                page = landing_page(self._snapshots.newest, self._now_ns(), shown)
                return Response(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", _PAGE_HEADERS)
            case _:
                return Response(
                    HTTPStatus.NOT_FOUND, b"404 there are /, /metrics, /-/healthy and /-/ready here\n"
                )

    def _metrics(self, *, gzip_accepted: bool) -> Response:
        snapshot = self._snapshots.current()
        headers = {"Vary": "Accept-Encoding"}
        if gzip_accepted:
            headers["Content-Encoding"] = "gzip"
            return Response(HTTPStatus.OK, snapshot.gzipped(), METRICS_TYPE, headers)
        return Response(HTTPStatus.OK, snapshot.text(), METRICS_TYPE, headers)

    def _ready(self) -> Response:
        reason = why_not_ready(self._snapshots.newest, self._now_ns())
        if reason:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {reason}\n".encode())
        return Response(HTTPStatus.OK, b"Ready.\n")


def landing_page(inputs: Inputs, now_ns: int, shown: Energy | None = None) -> str:
    """A page for people: where to go, what is up, and what used most. Pure.

    `shown`: the books that scrapers see now. Joules of workloads change no more often here than there.
    """
    reason = why_not_ready(inputs, now_ns)
    node = f" on {inputs.energy.node}" if inputs.energy else ""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Wattline</title></head><body>',
        f"<h1>Wattline{escape(node)}</h1>",
        f"<p>{escape(f'Not ready: {reason}' if reason else 'Ready.')}</p>",
        '<ul><li><a href="/metrics">/metrics</a> joules for Prometheus</li>',
        '<li><a href="/-/ready">/-/ready</a> whether there is fresh energy data</li>',
        '<li><a href="/-/healthy">/-/healthy</a> whether the exporter lives</li></ul>',
        *_table("Stages", _stages(inputs, now_ns)),
        *_table("Sources", _sources(inputs)),
        *_table("Pods", page_workloads.pods(shown) if shown else ()),
        *_table("Containers", page_workloads.containers(shown) if shown else ()),
        *_table("Zones", _zones(inputs)),
        *_table("Sources of zones", _standings(inputs)),
        *_table("Absent zones", _absent_zones(inputs)),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if lines:
        yield from (f"<h2>{title}</h2>", "<table>", *lines, "</table>")


def _stages(inputs: Inputs, now_ns: int) -> Iterator[tuple[str, ...]]:
    for stage in dict.fromkeys((*inputs.stages, *inputs.statuses)):
        status, found = inputs.statuses.get(stage), stage_verdict(inputs, stage, now_ns)
        yield stage, found.state, f"version {status.version}" if status is not None else "", found.text


def _sources(inputs: Inputs) -> Iterator[tuple[str, ...]]:
    for state in sources(inputs):
        yield state.name, "up" if state.up else "down", state.reason


def _zones(inputs: Inputs) -> Iterator[tuple[str, ...]]:
    if inputs.energy is not None:
        zones = inputs.energy.zones
        yield from zip(zones.zone, zones.index, zones.source, zones.provenance, zones.model, strict=True)


def _standings(inputs: Inputs) -> Iterator[tuple[str, ...]]:
    """Rows of the table of sources; none where each slot has only one."""
    if inputs.energy is not None and inputs.energy.zones.is_owner:
        rows = standings(inputs.energy)
        if any(role != OWNER for *_row, role in rows):
            for zone, index, source, stream, rank, role in rows:
                yield zone, index, source, stream, f"rank {rank}", role


def _absent_zones(inputs: Inputs) -> Iterator[tuple[str, ...]]:
    if inputs.energy is not None:
        absent = inputs.energy.absent
        yield from zip(absent.zone, absent.index, absent.source, absent.why, absent.reason, strict=True)
