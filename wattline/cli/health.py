# SPDX-License-Identifier: Apache-2.0
"""`wattline health SERVICE`: exit code 0 if its last frame is young, 1 if it is old or missing."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from wattline.cli import COMMON_FLAGS
from wattline.wire.last import read_heartbeat
from wattline.wire.rundir import SERVICES, ServiceDirectory

# A service may miss two ticks and have a moment more: one slow scrape or compile is no illness.
_MISSED_TICKS = 3
_GRACE_S = 2.0


def main(arguments: Sequence[str]) -> int:
    """Print one line; exit code as above."""
    parser = argparse.ArgumentParser(prog="wattline health", description=__doc__, epilog=COMMON_FLAGS)
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument(
        "--max-age-s", type=float, help="oldest acceptable frame (default: three of its intervals and 2 s)"
    )
    options, rest = parser.parse_known_args(arguments)
    return check(_run_directory(rest), options.service, options.max_age_s)


def _run_directory(flags: Sequence[str]) -> Path:
    """Where the services meet. A variable without flags says it all, and spares two thirds of the time."""
    named = os.environ.get("WATTLINE_RUN")
    if named and not flags:
        return Path(named)
    from wattline.settings import CommonSettings, load  # noqa: PLC0415 for the reason above

    return load(CommonSettings, "health", flags, os.environ)[0].run


def check(run: Path, service: str, max_age_s: float | None) -> int:
    """The same for callers inside."""
    last = read_heartbeat(ServiceDirectory(run, service))
    if last is None:
        print(f"{service}: no frame at {run / service / 'last'}")
        return 1
    age_s = (time.monotonic_ns() - last.mono_ns) / 1e9
    limit_s = max_age_s if max_age_s is not None else _MISSED_TICKS * last.interval_ns / 1e9 + _GRACE_S
    # A frame of an earlier boot may seem to come from the future.
    healthy = 0 <= age_s <= limit_s
    verdict = "healthy" if healthy else "unhealthy"
    print(f"{service}: {verdict}, last frame {age_s:.1f} s old (limit {limit_s:.1f} s)")
    return 0 if healthy else 1
