# SPDX-License-Identifier: Apache-2.0
"""The exporter's I/O and timing: keeps the newest frames and owns the HTTP server."""

import os
import time
from functools import partial

from wattline.errors import Fatal
from wattline.health import State
from wattline.runtime import Runtime
from wattline.wire.frames import AnyFrame, Energy

from . import scrape
from .http import HttpServer
from .inputs import Inputs, stage_verdict, why_not_ready
from .pages import Pages
from .self_metrics import HttpCounts
from .settings import ExporterSettings
from .snapshot import Snapshots

TOPICS = ("energy", "metadata", "status")


class ExporterStage:
    """Frames in, snapshots out. It publishes nothing but its status."""

    def __init__(self, settings: ExporterSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        self._inputs = Inputs(stages=settings.streams.stages)
        self._ready = False
        self._can_answer = True  # no request has failed since the last snapshot that could be made
        self._faults: dict[str, State] = {}
        self._snapshots = Snapshots(
            partial(self._render, os.uname().machine), runtime.now_ns, time.monotonic_ns
        )
        pages = Pages(self._snapshots, runtime.now_ns)
        self._server = HttpServer(settings.web_listen_address, pages.answer)
        self._server.start()
        runtime.log.info("listening", address=self._server.address)

    def on_frame(self, frame: AnyFrame) -> None:
        """Keep it as the newest of its stream, and let the next scrape show it."""
        self._inputs = self._inputs.with_frame(frame)
        self._snapshots.offer(self._inputs)
        if isinstance(frame, Energy) and self._can_answer:
            self._runtime.mark_useful()

    def on_tick(self, now_ns: int) -> None:
        """Say whether readiness has changed; pass on what went wrong in the server's threads."""
        self._say_readiness(why_not_ready(self._inputs, now_ns))
        self._say_faults(now_ns)
        if not self._can_answer:
            self._snapshots.current().text()  # as a scraper would; an error is one of this turn
        if starved := self._server.take_starved():
            self._runtime.count(
                "no_descriptor", f"{starved}; raise it (ulimit -n, LimitNOFILE=) or connect less"
            )
        for cause in self._server.take_errors():
            self._can_answer = False
            self._runtime.failed_turns += 1
            self._runtime.count("request_failed", cause)
        if not self._server.alive:
            raise Fatal("the HTTP server's thread has ended")

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _render(self, architecture: str, inputs: Inputs, now_ns: int) -> bytes:
        counts = HttpCounts(self._server.responses, self._server.cut_off)
        text = scrape.text(inputs, counts, architecture, now_ns)
        self._can_answer = True
        return text

    def _say_faults(self, now_ns: int) -> None:
        """Log which other stage has a fault, and when it has none any more."""
        for stage in self._inputs.statuses.keys() - {self._runtime.service}:
            found = stage_verdict(self._inputs, stage, now_ns)
            state = State.WORKING if found.is_up else found.state
            if state is self._faults.get(stage, State.WORKING):
                continue
            self._faults[stage] = state
            if state is State.WORKING:
                self._runtime.log.info("stage_works", stage=stage)
            else:
                self._runtime.log.warning("stage_fault", stage=stage, state=state, cause=found.text)

    def _say_readiness(self, reason: str) -> None:
        if self._ready != (not reason):
            self._ready = not reason
            if reason:
                self._runtime.log.warning("not_ready", cause=reason)
            else:
                self._runtime.log.info("ready")
