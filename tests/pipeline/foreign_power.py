# SPDX-License-Identifier: Apache-2.0
"""A `power` stage with nothing of this project in it, written from docs/wire.md alone: one zone of 25 W."""

import argparse
import fcntl
import os
import signal
import socket
import stat
import struct
import sys
import time
import zlib
from pathlib import Path

import msgpack
import zmq

WATTS = 25
ZONE = {"zone": "package", "index": "0", "source": "foreign", "provenance": "measured", "model": ""}
NODE = os.environ.get("WATTLINE_NODE") or socket.gethostname()
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
RUN = Path(os.environ.get("WATTLINE_RUN") or "/dev/shm/wattline")  # noqa: S108 the documented default


def make_directory(path: Path, mode: int, owners: set[int]) -> None:
    if not path.exists():
        path.mkdir()
        path.chmod(mode)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        sys.exit(f"{path} is no directory of ours")


def stopped(seconds: float) -> bool:
    """Sleeps; says whether SIGTERM or SIGINT came meanwhile."""
    return signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, max(seconds, 0)) is not None


class Last:
    """The file `last`, going on from the newest whole payload of an old one."""

    def __init__(self, path: Path) -> None:
        self.path, self.capacity, self.sequence, self.payload = path, 0, 0, b""
        data = path.read_bytes() if path.exists() else b""
        capacity = max(len(data) - 80, 0) // 2
        if data[:16] == b"WATTLN01" + struct.pack("<Q", capacity):
            for start in (16, 48 + capacity):
                valid, sequence, length, checksum = struct.unpack_from("<4Q", data, start)
                payload = data[start + 32 : start + 32 + min(length, capacity)]
                if valid == 1 and sequence > self.sequence and checksum == self.checksum(sequence, payload):
                    self.sequence, self.payload = sequence, payload
        if self.sequence:
            self.create(self.payload)

    @staticmethod
    def checksum(sequence: int, payload: bytes) -> int:
        return zlib.crc32(struct.pack("<2Q", sequence, len(payload)) + payload)

    def create(self, payload: bytes) -> None:
        new, self.slot, self.capacity = self.path.with_name(".last.new"), 0, max(65536, 2 * len(payload))
        new.unlink(missing_ok=True)
        self.file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        os.posix_fallocate(self.file, 0, 80 + 2 * self.capacity)
        os.pwrite(self.file, b"WATTLN01" + struct.pack("<Q", self.capacity), 0)
        self.fill(payload)
        new.rename(self.path)

    def fill(self, payload: bytes) -> None:
        """In the order that keeps a torn slot from being taken for a whole one."""
        start, length = 16 + self.slot * (32 + self.capacity), len(payload)
        head = struct.pack("<3Q", self.sequence, length, self.checksum(self.sequence, payload))
        for offset, part in ((0, bytes(8)), (32, payload), (8, head), (0, struct.pack("<Q", 1))):
            os.pwrite(self.file, part, start + offset)

    def write(self, payload: bytes) -> None:
        self.sequence += 1
        if len(payload) > self.capacity:
            self.create(payload)
        else:
            self.slot = 1 - self.slot
            self.fill(payload)


def predecessor(payload: bytes) -> tuple[int, int, int] | None:
    """Epoch, energy and raw of the frame before; None if it isn't of this node, boot and zone alone."""
    try:
        frame = msgpack.unpackb(payload)
        zones = frame["zones"]
        ours = [frame[name] for name in ("schema", "node", "boot_id")] == [1, NODE, BOOT_ID]
        if not ours or any(zones[name] != [value] for name, value in ZONE.items()):
            return None
        energy, raw = (struct.unpack("<Q", zones[name][1])[0] for name in ("energy_uj", "raw"))
        return frame["epoch"], energy, raw
    except (ValueError, LookupError, TypeError, struct.error, msgpack.UnpackException):
        return None


def power(now: int, energy: int, raw: int) -> dict:
    wide = {"mono_ns": now, "energy_uj": energy, "raw": raw, "raw_range": 0, "raw_epoch": 0}
    zones = {name: [value] for name, value in ZONE.items()}
    zones |= {name: ["u64", struct.pack("<Q", value)] for name, value in wide.items()}
    zones |= {name: ["u32", bytes(4)] for name in ("error_ratio_ppm", "gaps")}
    return {"topic": "power", "zones": zones, "sources": [{"name": ZONE["source"], "up": True}]}


def status(run: int, sent: int, late: int) -> dict:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    counts = {"memory_bytes": pages * os.sysconf("SC_PAGE_SIZE"), "frames_sent": sent, "late_ticks": late}
    own = {"service": "power", "version": "foreign", "pid": os.getpid(), "cpu_ns": time.process_time_ns()}
    return {"topic": "status", "epoch": run, **own, **counts}


def publish(here: Path, stream: zmq.Socket, interval: int, run: int) -> None:
    last = Last(here / "last")
    start = time.monotonic_ns()
    epoch, energy, raw = predecessor(last.payload) or (start, 0, WATTS * start // 1000)
    ticks = late = 0
    while True:
        now = time.monotonic_ns()
        meter = WATTS * now // 1000  # a watt is a thousandth of a microjoule in a nanosecond
        header = {"schema": 1, "node": NODE, "boot_id": BOOT_ID, "producer": "power", "epoch": epoch}
        header |= {"run": run, "seq": ticks, "mono_ns": now, "unix_ns": time.time_ns()}
        header["interval_ns"] = interval
        frame = msgpack.packb(header | power(now, energy + meter - raw, meter))
        last.write(frame)
        stream.send_multipart([b"power", frame])
        stream.send_multipart([b"status", msgpack.packb(header | status(run, 2 * ticks + 1, late))])
        ticks += 1
        missed = max(time.monotonic_ns() - start - (ticks + late) * interval, 0) // interval
        late += missed
        if stopped((start + (ticks + late) * interval - time.monotonic_ns()) / 1e9):
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds")
    interval = round(parser.parse_args().interval * 1e9)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.umask(0o022)
    here = RUN / "power"
    make_directory(RUN, 0o755, {0, os.geteuid()})
    make_directory(here, 0o2750, {os.geteuid()})
    lock, said = os.open(here / "lock", os.O_RDWR | os.O_CREAT, 0o600), False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not said:
                print("standby: another power service runs", flush=True)
            said = True
            if stopped(0.2):
                return
    run = time.monotonic_ns()
    pid, path = here / "pid", here / "stream.sock"
    pid.write_text(f"{os.getpid()}\n", encoding="ascii")
    path.unlink(missing_ok=True)
    stream = zmq.Context().socket(zmq.PUB)
    stream.sndhwm, stream.linger = 4, 0
    stream.bind(f"ipc://{path}")
    path.chmod(0o770)
    publish(here, stream, interval, run)
    stream.close()
    path.unlink()
    pid.unlink()


if __name__ == "__main__":
    main()
