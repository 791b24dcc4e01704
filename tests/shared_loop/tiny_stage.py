# SPDX-License-Identifier: Apache-2.0
"""The smallest service, run by the real loop: `python tiny_stage.py FLAGS`. It misbehaves on request."""

import sys
import time
from typing import Annotated

from msgspec import field

from wattline.errors import Fatal, Gone, Retry
from wattline.runtime import Runtime
from wattline.service import main
from wattline.settings import ReplaySettings, meaning
from wattline.wire.columns import U32, U64
from wattline.wire.frames import AnyFrame, Power, PowerZones

FATAL_CODE = 42


class TinySettings(ReplaySettings, kw_only=True, frozen=True):
    """A service that publishes empty frames."""

    tiny_fault: Annotated[str, meaning("what goes wrong in each third tick")] = field(
        default="", name="tiny.fault"
    )


class TinyStage:
    """Publishes `power` once a tick, without a zone in it."""

    def __init__(self, settings: TinySettings, runtime: Runtime) -> None:
        self._fault = settings.tiny_fault
        self._runtime = runtime
        self._ticks = 0
        previous = runtime.previous()
        runtime.log.info("previous", run=previous.run if previous else "none")
        if self._fault == "build":
            raise Fatal("asked to fail while building", FATAL_CODE)

    def on_frame(self, frame: AnyFrame) -> None:
        self._runtime.log.info("frame", topic=frame.topic, seq=frame.seq)

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        if self._ticks % 3 == 0:
            self._go_wrong()
        zones = PowerZones(
            zone=[],
            index=[],
            source=[],
            provenance=[],
            model=[],
            error_ratio_ppm=U32(),
            mono_ns=U64(),
            energy_uj=U64(),
            raw=U64(),
            raw_range=U64(),
            raw_epoch=U64(),
            gaps=U32(),
        )
        self._runtime.publish(Power, epoch=1, mono_ns=now_ns, zones=zones)

    def close(self) -> None:
        if self._fault == "close":
            (self._runtime.directory.path / "away" / "ledger").write_bytes(b"")
        self._runtime.log.info("closed")

    def _go_wrong(self) -> None:
        match self._fault:
            case "exception":
                raise KeyError("no such\nzone")
            case "retry":
                raise Retry("busy")
            case "gone":
                raise Gone
            case "fatal":
                raise Fatal("asked to fail", FATAL_CODE)
            case "endless":
                self._runtime.log.info("stuck")
                while True:
                    pass
            case "endless_c":
                self._runtime.log.info("stuck")
                deadline_s = time.monotonic() + 2  # time for the signal, whose handler runs between calls
                while time.monotonic() < deadline_s:
                    pass
                sum(range(10**15))  # one call into C
            case "slow":
                time.sleep(3.5 * self._runtime.interval_ns / 1e9)


def run() -> int:
    return main("power", TinySettings, TinyStage, topics=("activity",))


if __name__ == "__main__":
    sys.exit(run())
