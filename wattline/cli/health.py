# SPDX-License-Identifier: Apache-2.0
"""`wattline health STAGE`: exit code 0 if the service or power stream works, 1 if it has a fault.

It works while its content advances. One that only waits for another stage is all right, too: a restart would
not help it.
"""

import argparse
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from wattline.cli import COMMON_FLAGS
from wattline.errors import Fatal
from wattline.health import Verdict, verdict
from wattline.pipeline import SERVICES, is_extra_stream
from wattline.wire.last import Heartbeat, read_heartbeat
from wattline.wire.rundir import ServiceDirectory


def main(arguments: Sequence[str]) -> int:
    """Print one line; exit code as above."""
    parser = argparse.ArgumentParser(prog="wattline health", description=__doc__, epilog=COMMON_FLAGS)
    parser.add_argument(
        "service", type=_stage, metavar="STAGE", help=f"{', '.join(SERVICES)}, or a power stream as power-bmc"
    )
    parser.add_argument(
        "--max-age-s",
        type=_age_s,
        metavar="S",
        help="oldest acceptable frame (default: three of its intervals and 2 s)",
    )
    parser.add_argument("--run", help=argparse.SUPPRESS)  # named here only so that its value is no service
    parser.add_argument("--config", help=argparse.SUPPRESS)  # likewise
    parser.add_argument("--power.streams", dest="streams", help=argparse.SUPPRESS)  # likewise
    options, rest = parser.parse_known_args(arguments)
    values = {"--run": options.run, "--config": options.config, "--power.streams": options.streams}
    for flag, value in values.items():
        rest += [] if value is None else [flag, value]
    run, uid = _place(rest, options.service)
    return check(run, options.service, options.max_age_s, uid)


def _stage(text: str) -> str:
    if text in SERVICES or is_extra_stream(text):
        return text
    from wattline.setting import nearest  # noqa: PLC0415 hardly ever needed

    raise argparse.ArgumentTypeError(
        f"expected {', '.join(SERVICES)} or a power stream as power-bmc, got {text!r:.50}"
        f"{nearest(text, SERVICES)}"
    )


def _age_s(text: str) -> float:
    try:
        age_s = float(text)
    except ValueError:
        age_s = 0.0
    if not 0 < age_s < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r:.40}")
    return age_s


def _place(flags: Sequence[str], stage: str) -> tuple[Path, int | None]:
    """(where the services meet, the user that the settings give to a stage).

    For a service, a variable without flags says it all, and spares two thirds of the time.
    """
    named = os.environ.get("WATTLINE_RUN")
    if named and not flags and stage in SERVICES:
        return Path(named), None
    from wattline.settings import CommonSettings, load  # noqa: PLC0415 for the reason above

    from .choice import choose, is_given  # noqa: PLC0415 likewise

    settings = load(CommonSettings, "health", flags, os.environ)[0]
    run = choose(settings.run, is_given=is_given(settings.run), command="health").run
    return run, settings.streams.uid_of(stage)


def check(run: Path, service: str, max_age_s: float | None, uid: int | None = None) -> int:
    """The same for callers inside."""

    @cache
    def find(name: str) -> Heartbeat | None:
        return read_heartbeat(ServiceDirectory(run, name, uid if name == service else None))

    last = find(service)
    now_ns = time.monotonic_ns()  # after reading: a frame that came in between would be of the future
    found = verdict(service, find, now_ns)
    if last is None:
        return _no_frame(run, service)
    age_s = (now_ns - last.mono_ns) / 1e9
    too_old = max_age_s is not None and not 0 <= age_s <= max_age_s
    words = (
        f"too old, last frame {age_s:.1f} s old (limit {max_age_s:g} s)" if too_old else _words(found, age_s)
    )
    print(f"{service}: {words}")
    return 0 if found.is_up and not too_old else 1


def _no_frame(run: Path, service: str) -> int:
    from .as_root import as_root  # noqa: PLC0415 as above
    from .rights import rights_to  # noqa: PLC0415 as above

    rights = rights_to(run, [service])
    if rights.closed:
        raise Fatal(rights.complaint(run, as_root("health", [service], run)), Fatal.PERMISSION)
    print(f"{service}: no frame at {run / service / 'last'}: is it running?")
    return 1


def _words(found: Verdict, age_s: float) -> str:
    return f"{found.state}, last frame {age_s:.1f} s old" + (f"; {found.text}" if found.text else "")
