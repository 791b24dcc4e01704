# SPDX-License-Identifier: Apache-2.0
"""A `power` publisher written from docs/wire.md alone, without any of our code, as in another language.

python foreign_publisher.py RUN NODE [NAME ZONE]. One zone at 10 W, a frame each 20 ms, until it is killed.
"""

import fcntl
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import msgpack
import zmq

INTERVAL_NS = 20_000_000
CAPACITY = 65_536


class LastFile:
    """Section 3."""

    def __init__(self, path: Path) -> None:
        self.sequence = 0
        self.slot = 1
        fresh = path.with_name(".last.new")
        self.descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        os.posix_fallocate(self.descriptor, 0, 80 + 2 * CAPACITY)
        os.pwrite(self.descriptor, b"WATTLN01" + struct.pack("<Q", CAPACITY), 0)
        self.rename = lambda: fresh.rename(path)

    def write(self, payload: bytes) -> None:
        self.sequence += 1
        self.slot = 1 - self.slot
        offset = 16 + self.slot * (32 + CAPACITY)
        numbers = struct.pack("<QQ", self.sequence, len(payload))
        os.pwrite(self.descriptor, bytes(8), offset)
        os.pwrite(self.descriptor, payload, offset + 32)
        os.pwrite(self.descriptor, numbers + struct.pack("<Q", zlib.crc32(numbers + payload)), offset + 8)
        os.pwrite(self.descriptor, struct.pack("<Q", 1), offset)
        if self.sequence == 1:
            self.rename()


def column(width: str, *values: int) -> list[object]:
    return [width, struct.pack(f"<{len(values)}{'I' if width == 'u32' else 'Q'}", *values)]


def frame(header: dict[str, object], zone: str, now_ns: int, epoch_ns: int) -> bytes:
    """Section 8, power."""
    zones = {
        "zone": [zone],
        "index": ["0"],
        "source": ["foreign"],
        "provenance": ["measured"],
        "model": [""],
        "error_ratio_ppm": column("u32", 0),
        "mono_ns": column("u64", now_ns),
        "energy_uj": column("u64", (now_ns - epoch_ns) // 100),
        "raw": column("u64", 0),
        "raw_range": column("u64", 0),
        "raw_epoch": column("u64", 0),
        "gaps": column("u32", 0),
    }
    return bytes(msgpack.packb({**header, "zones": zones}))


def main() -> None:
    name, zone = sys.argv[3:] or ("power", "package")
    service = Path(sys.argv[1]) / name
    service.mkdir(exist_ok=True)
    service.chmod(0o2750)
    lock = os.open(service / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    fcntl.flock(lock, fcntl.LOCK_EX)
    run_ns = time.monotonic_ns()
    (service / "pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    last = LastFile(service / "last")
    path = service / "stream.sock"
    path.unlink(missing_ok=True)
    socket = zmq.Context().socket(zmq.PUB)
    socket.setsockopt(zmq.SNDHWM, 4)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(f"ipc://{path}")
    path.chmod(0o770)
    header: dict[str, object] = {
        "topic": "power",
        "schema": 1,
        "node": sys.argv[2],
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        "producer": name,
        "epoch": run_ns,
        "run": run_ns,
        "interval_ns": INTERVAL_NS,
    }
    seq = 0
    while True:
        now_ns = time.monotonic_ns()
        header |= {"seq": seq, "mono_ns": now_ns, "unix_ns": time.time_ns()}
        data = frame(header, zone, now_ns, run_ns)
        last.write(data)
        socket.send_multipart([b"power", data])
        seq += 1
        time.sleep(INTERVAL_NS / 1e9)


if __name__ == "__main__":
    assert not any(name.startswith("wattline") for name in sys.modules)
    main()
