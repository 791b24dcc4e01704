# SPDX-License-Identifier: Apache-2.0
"""How long it takes to read a recording to its end when its last, large record is torn, and when it is whole.

Usage: python -m bench.torn_recording [MB of the last record, default 59]
"""

import sys
import tempfile
import time
from pathlib import Path

from wattline.wire.recording import RecordingReader, RecordingWriter

ATTEMPTS = 5


def read_s(path: Path) -> float:
    times = []
    for _attempt in range(ATTEMPTS):
        begun_s = time.perf_counter()
        with RecordingReader(path) as reader:
            for _payload in reader:
                pass
        times.append(time.perf_counter() - begun_s)
    return min(times)


def main() -> None:
    size_bytes = int(sys.argv[1] if len(sys.argv) > 1 else 59) * 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "large.rec"
        with RecordingWriter(path) as writer:
            writer.write(b"one")
            writer.write(bytes(range(256)) * (size_bytes // 256))
        whole_s = read_s(path)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 1)
        torn_s = read_s(path)
    print(
        f"{size_bytes / 1e6:.0f} MB: whole {whole_s:.3f} s, torn {torn_s:.3f} s, ratio {torn_s / whole_s:.2f}"
    )


if __name__ == "__main__":
    main()
