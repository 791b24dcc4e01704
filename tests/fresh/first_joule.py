# SPDX-License-Identifier: Apache-2.0
"""Start Wattline in a fresh root as its user would, wait for joules, and stop it."""

import re
import time
import urllib.request
from pathlib import Path

from tests.pipeline.metrics import read

from .root import FreshRoot

_PATIENCE_S = 420.0
_RISE_S = 20.0


def seconds_to_first_joule(
    root: FreshRoot, log: Path, start: tuple[str, ...], wattline: str, **where: str
) -> float:
    """Seconds from the start to the first joule. Fails unless joules rise and no turn of a stage fails.

    `wattline`: the command that stops it with `down`.
    """
    begun_s = time.monotonic()
    with root.started(log, *start, **where) as process:

        def wait_for(what, condition, seconds):
            deadline_s = time.monotonic() + seconds
            while (value := condition()) is None:
                text = log.read_text(encoding="utf-8", errors="replace")
                assert process.poll() is None, f"it ended before {what}:\n{text[-4000:]}"
                assert time.monotonic() < deadline_s, f"no {what}:\n{text[-4000:]}"
                time.sleep(0.1)
            return value

        url = wait_for("address", lambda: _url(log), _PATIENCE_S)
        first_j = wait_for("joule", lambda: _joules(url) or None, _RISE_S)
        first_s = time.monotonic() - begun_s
        wait_for("rising joules", lambda: _joules(url) > first_j or None, _RISE_S)
        said = root.run(*(["sudo"] if where.get("user") else []), wattline, "down", **where)
        assert process.wait(30) == 0, log.read_text(encoding="utf-8")
    text = log.read_text(encoding="utf-8")
    assert "unexpected" not in text, text
    assert "stage_fault" not in text, text
    assert "up" in said
    return first_s


def _url(log: Path) -> str | None:
    found = re.search(
        r"Wattline runs: .*?(http://\S+/metrics)", log.read_text(encoding="utf-8", errors="replace")
    )
    return found[1] if found else None


def _joules(url: str) -> float:
    with urllib.request.urlopen(url, timeout=10) as response:
        series = read(response.read())
    return sum(one.value for one in series if one.name == "kepler_node_package_joules_total")
