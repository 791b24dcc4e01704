# SPDX-License-Identifier: Apache-2.0
"""A publisher of large frames: `python large_publisher.py RUN`.

Small frames until a line comes in, then 500 of a megabyte each; then prints by how many bytes its resident
memory grew at most, and stays until standard input is closed.
"""

import resource
import select
import sys
from pathlib import Path

import msgspec

from wattline.wire.bus import Publisher
from wattline.wire.codec import decode
from wattline.wire.columns import U64
from wattline.wire.frames import ActivityCgroups
from wattline.wire.rundir import ServiceDirectory

_FRAMES = 500
_ROWS = 65_536  # of two columns of 8 bytes: a megabyte
_TEMPLATE = Path(__file__).parent / "fixtures/valid/activity_empty.frame"


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    directory = ServiceDirectory(Path(sys.argv[1]), "probe")
    directory.prepare()
    publisher = Publisher(directory)
    template = decode(_TEMPLATE.read_bytes())
    seq = 0

    def publish(rows: int) -> None:
        nonlocal seq
        seq += 1
        column = U64(bytes(8 * rows))
        cgroups = ActivityCgroups(cgroup_id=column, cpu_ns=column)
        publisher.publish(
            msgspec.structs.replace(template, seq=seq, mono_ns=template.epoch + seq, cgroups=cgroups),
            is_state=True,
        )

    while not select.select([sys.stdin], [], [], 0.01)[0]:
        publish(rows=1)
    before_bytes = resident_bytes()
    most_bytes = 0
    for _ in range(_FRAMES):
        publish(_ROWS)
        most_bytes = max(most_bytes, resident_bytes())
    print(most_bytes - before_bytes, flush=True)
    sys.stdin.read()
    publisher.close()


if __name__ == "__main__":
    main()
