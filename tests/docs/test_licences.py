# SPDX-License-Identifier: Apache-2.0
"""Every file says under which licence it is."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EBPF = "GPL-2.0-only OR BSD-2-Clause"
# Files that can't carry a line: frames are binary, and a scrape is compared byte for byte.
WITHOUT = (".frame", ".prom")


def files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_file_has_its_spdx_line():
    """Apache-2.0 throughout, but for the eBPF sources."""
    found = files()
    assert len(found) > 100
    for path in found:
        if path.name.startswith("LICENSE-") or path.suffix in WITHOUT or not path.stat().st_size:
            continue
        head = path.read_text(encoding="utf-8")[:1000]
        is_ebpf = path.suffix in (".c", ".h") and path.is_relative_to(ROOT / "services" / "probe")
        wanted = EBPF if is_ebpf else "Apache-2.0"
        assert wanted in head, path.relative_to(ROOT)
