# SPDX-License-Identifier: Apache-2.0
"""A `power` stage with a meter like a BMC's: read once a minute, told of some seconds later.

    python -m tests.pipeline.slow_power RUN READINGS [--period 60] [--late 5] CGROUP…

Zones: `platform`, the slow one, and `package`, read five times a second. Both follow one law of what the
CPUs really did: idle_w × time + busy_w × time in which they were not idle. Each reading of the slow meter
goes to the file READINGS as a line of JSON, with the kernel's account of some cgroups and of stolen time at
that moment.
"""

import argparse
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.load import steal_ns
from wattline.selftest.awake import Awake
from wattline.selftest.busy import parse_idle
from wattline.selftest.cgroups import Cgroup
from wattline.wire.bus import Publisher
from wattline.wire.columns import U32, U64
from wattline.wire.frames import Power, PowerZones
from wattline.wire.rundir import Lock, ServiceDirectory

IDLE_W, BUSY_W = 60, 25
INTERVAL_NS = 200_000_000
_MOMENT_NS = 10_000_000
_ATTEMPTS = 100


class Law:
    """Energy since the start."""

    def __init__(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._awake = Awake()
        self.now()

    def now(self) -> tuple[int, int]:
        """(time, µJ)."""
        before_ns = time.monotonic_ns()
        idle_ns = parse_idle(Path("/proc/stat").read_text(encoding="ascii"))
        now_ns = (before_ns + time.monotonic_ns()) // 2
        busy_ns = sum(self._awake.observe(now_ns, idle_ns).values())
        return now_ns, (IDLE_W * (now_ns - self.start_ns) + BUSY_W * busy_ns) // 1000


def moment(law: Law, cgroups: Sequence[Path]) -> tuple[int, int, dict[str, object]]:
    """(time, µJ, the kernel's accounts) of one moment: taken anew until nothing has come between.

    To be kept from the CPU for half a second here would be a percent of the truth.
    """
    for _attempt in range(_ATTEMPTS):
        begun_ns = time.monotonic_ns()
        now_ns, energy_uj = law.now()
        accounts = {
            "cpu_ns": {path.name: Cgroup(path).cpu_ns() for path in cgroups},
            "steal_ns": steal_ns(),
            "took_ns": time.monotonic_ns() - begun_ns,
        }
        if accounts["took_ns"] < _MOMENT_NS:
            break
    return now_ns, energy_uj, accounts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("readings", type=Path)
    parser.add_argument("--period", type=float, default=60)
    parser.add_argument("--late", type=float, default=5)
    parser.add_argument("cgroups", nargs="+", type=Path)
    given = parser.parse_args()
    directory = ServiceDirectory(given.run, "power")
    directory.prepare()
    law = Law()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    shown, pending = (law.start_ns, 0), None
    with Lock(directory.lock) as lock, given.readings.open("w", encoding="ascii") as readings:
        assert lock.acquire()
        publisher = Publisher(directory)
        seq = 0
        while signal.sigtimedwait({signal.SIGTERM}, 0.2) is None:
            now_ns, energy_uj = law.now()
            taken_ns = pending[0] if pending else shown[0]
            if pending is None and now_ns - taken_ns >= given.period * 1e9:
                now_ns, energy_uj, accounts = moment(law, given.cgroups)
                pending = (now_ns, energy_uj)
                readings.write(json.dumps({"mono_ns": now_ns, **accounts}) + "\n")
                readings.flush()
            if pending and now_ns - pending[0] >= given.late * 1e9:
                shown, pending = pending, None
            rows = [("package", now_ns, energy_uj), ("platform", *shown)]
            publisher.publish(
                Power(
                    node=given.run.name,
                    boot_id=boot_id,
                    producer="power",
                    epoch=law.start_ns,
                    run=law.start_ns,
                    seq=seq,
                    mono_ns=now_ns,
                    unix_ns=time.time_ns(),
                    interval_ns=INTERVAL_NS,
                    zones=PowerZones(
                        zone=[zone for zone, _ns, _uj in rows],
                        index=["0", "0"],
                        source=["test", "test"],
                        provenance=["measured", "measured"],
                        model=["", ""],
                        error_ratio_ppm=U32([0, 0]),
                        mono_ns=U64(ns for _zone, ns, _uj in rows),
                        energy_uj=U64(uj for _zone, _ns, uj in rows),
                        raw=U64([0, 0]),
                        raw_range=U64([0, 0]),
                        raw_epoch=U64([0, 0]),
                        gaps=U32([0, 0]),
                    ),
                ),
                is_state=True,
            )
            seq += 1
        publisher.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
