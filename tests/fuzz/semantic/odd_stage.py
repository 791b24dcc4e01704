# SPDX-License-Identifier: Apache-2.0
"""A stage in SERVICE's place that sends odd frames among true ones, then ends.

python -m tests.fuzz.semantic.odd_stage SERVICE RUN --seed S --frames N --frames-per-s R
"""

import argparse
import time
from pathlib import Path
from random import Random

import msgspec
import zmq

from wattline.wire.bus import read_last
from wattline.wire.codec import encode
from wattline.wire.columns import U64
from wattline.wire.frames import Activity, AnyFrame, Power, Status
from wattline.wire.rundir import Lock, ServiceDirectory
from wattline.wire.shared import SlotWriter

from .odd_frames import odd_frame

_TRUE_EVERY = 4  # frames
_CONNECT_S = 1.0  # readers connect again within a tick
_WATTS = 25


class OddStage:
    """Holds the lock and the socket of a service, as one does that was written from docs/wire.md."""

    def __init__(self, run: Path, service: str, seed: str) -> None:
        self.service = service
        self.chance = Random(seed)
        self._directory = ServiceDirectory(run, service)
        self.lock = Lock(self._directory.lock)
        while not self.lock.acquire():
            time.sleep(0.02)
        base = read_last(self._directory)
        if base is None:
            raise SystemExit(f"{service} has never published anything")
        self._base: AnyFrame = base
        self._begun_ns = time.monotonic_ns()
        self._seq = 0
        # Half of the seeds leave an odd frame in `last` for the next process, the others a true one.
        self._last = SlotWriter(self._directory.last) if self.chance.random() < 0.5 else None
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 4)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._directory.socket.unlink(missing_ok=True)
        self._socket.bind(f"ipc://{self._directory.socket}")
        self._directory.socket.chmod(0o770)

    def send(self, number: int) -> None:
        """One frame on the service's own topic, and now and then a status."""
        now_ns = time.monotonic_ns()
        true = self._true(now_ns)
        is_true = number % _TRUE_EVERY == 0
        data = encode(true) if is_true else odd_frame(self.chance, true, now_ns)
        if self._last is not None:
            self._last.write(data)
        self._socket.send_multipart([true.topic.encode(), data])
        if number % _TRUE_EVERY == 1:
            self._socket.send_multipart([b"status", odd_frame(self.chance, self._status(true), now_ns)])

    def _true(self, now_ns: int) -> AnyFrame:
        """The last true frame as it would be now."""
        frame, passed_ns = self._base, now_ns - self._base.mono_ns
        self._seq += 1
        frame = msgspec.structs.replace(
            frame,
            run=self._begun_ns,
            seq=self._seq,
            mono_ns=now_ns,
            unix_ns=time.time_ns(),
            useful_mono_ns=now_ns,
        )
        if isinstance(frame, Power):
            energy_uj = U64(uj + _WATTS * passed_ns // 1000 for uj in frame.zones.energy_uj)
            zones = msgspec.structs.replace(
                frame.zones, mono_ns=U64([now_ns] * len(frame.zones)), energy_uj=energy_uj
            )
            return msgspec.structs.replace(frame, zones=zones)
        if isinstance(frame, Activity):
            cpus = msgspec.structs.replace(
                frame.cpus,
                stamp_mono_ns=U64([now_ns] * len(frame.cpus)),
                idle_ns=U64(idle_ns + passed_ns for idle_ns in frame.cpus.idle_ns),
            )
            return msgspec.structs.replace(frame, cpus=cpus)
        return frame

    def _status(self, frame: AnyFrame) -> Status:
        header = {name: getattr(frame, name) for name in Status.__struct_fields__ if hasattr(frame, name)}
        own = {"service": self.service, "version": "odd", "pid": 1, "cpu_ns": 1, "memory_bytes": 1}
        return Status(**header | own | {"frames_sent": self._seq, "late_ticks": 0})

    def close(self) -> None:
        """Leave the place to the next process."""
        self._socket.close()
        self._directory.socket.unlink(missing_ok=True)
        if self._last is not None:
            self._last.close()
        self.lock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service")
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--frames-per-s", type=float, required=True)
    wanted = parser.parse_args()
    stage = OddStage(wanted.run, wanted.service, wanted.seed)
    try:
        time.sleep(_CONNECT_S)
        begun_s = time.monotonic()
        for number in range(wanted.frames):
            time.sleep(max(0.0, begun_s + number / wanted.frames_per_s - time.monotonic()))
            stage.send(number)
    finally:
        stage.close()
    print(f"{wanted.service}: {wanted.frames} frames sent")


if __name__ == "__main__":
    main()
