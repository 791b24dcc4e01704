# SPDX-License-Identifier: Apache-2.0
"""The exporter's I/O and timing: keeps the newest frames and owns the HTTP server."""

import os
import time
from functools import partial

from wattline.errors import Fatal
from wattline.service import Runtime
from wattline.wire.frames import AnyFrame, Energy

from . import scrape
from .http import HttpServer
from .inputs import Inputs, why_not_ready
from .pages import Pages
from .self_metrics import HttpCounts
from .settings import ExporterSettings
from .snapshot import Snapshots

TOPICS = ("energy", "metadata", "status")


class ExporterStage:
    """Frames in, snapshots out. It publishes nothing but its status."""

    def __init__(self, settings: ExporterSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        self._inputs = Inputs()
        self._ready = False
        self._snapshots = Snapshots(
            partial(self._render, os.uname().machine), runtime.now_ns, time.monotonic_ns
        )
        pages = Pages(self._snapshots, runtime.now_ns)
        self._server = HttpServer(settings.web_listen_address, pages.answer)
        self._server.start()
        runtime.log.info("listening", address=self._server.address)

    def on_frame(self, frame: AnyFrame) -> None:
        """Keep it as the newest of its stream, and let the next scrape show it."""
        if frame.boot_id != self._runtime.boot_id:
            self._runtime.count(
                "frame_refused",
                f"{frame.topic} of {frame.producer} is of another boot, whose clock is not ours",
            )
        elif isinstance(frame, Energy) and (zone := _impossible_zone(frame)):
            self._runtime.count(
                "frame_refused", f"energy: idle is above measured in zone {zone}: a bug in the calculator"
            )
        else:
            self._inputs = self._inputs.with_frame(frame)
            self._snapshots.offer(self._inputs)

    def on_tick(self, now_ns: int) -> None:
        """Say whether readiness has changed; pass on what went wrong in the server's threads."""
        self._say_readiness(why_not_ready(self._inputs.energy, now_ns))
        for cause in self._server.take_errors():
            self._runtime.count("request_failed", cause)
        if not self._server.alive:
            raise Fatal("the HTTP server's thread has ended")

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _render(self, architecture: str, inputs: Inputs, now_ns: int) -> bytes:
        counts = HttpCounts(self._server.responses, self._server.cut_off)
        return scrape.text(inputs, counts, architecture, now_ns)

    def _say_readiness(self, reason: str) -> None:
        if self._ready != (not reason):
            self._ready = not reason
            if reason:
                self._runtime.log.warning("not_ready", cause=reason)
            else:
                self._runtime.log.info("ready")


def _impossible_zone(energy: Energy) -> str:
    """The name of a zone whose idle energy is above what was measured in all; empty if there is none."""
    zones = energy.zones
    for zone, measured_uj, idle_uj in zip(zones.zone, zones.measured_uj, zones.idle_uj, strict=True):
        if idle_uj > measured_uj:
            return zone
    return ""
