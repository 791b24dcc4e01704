# SPDX-License-Identifier: Apache-2.0
"""A publisher with few descriptors: `python crowded_publisher.py RUN`.

Sends a frame every 50 ms and prints each fault once, until standard input is closed; then how many are open.
"""

import select
import sys
from pathlib import Path

import msgspec

from wattline.descriptors import raise_limit
from wattline.wire.bus import Publisher
from wattline.wire.codec import decode
from wattline.wire.rundir import ServiceDirectory

_TEMPLATE = Path(__file__).parent / "fixtures/valid/activity_empty.frame"


def main() -> None:
    raise_limit()
    directory = ServiceDirectory(Path(sys.argv[1]), "probe")
    directory.prepare()
    publisher = Publisher(directory)
    template = decode(_TEMPLATE.read_bytes())
    said, seq = set(), 0
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        seq += 1
        publisher.publish(
            msgspec.structs.replace(template, seq=seq, mono_ns=template.epoch + seq), is_state=True
        )
        for fault in publisher.faults.items():
            if fault not in said:
                said.add(fault)
                print(*fault, flush=True)
        if seq == 1:
            print("ready", flush=True)
    publisher.close()
    print(len(list(Path("/proc/self/fd").iterdir())), "open", flush=True)


if __name__ == "__main__":
    main()
