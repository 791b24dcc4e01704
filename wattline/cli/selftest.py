# SPDX-License-Identifier: Apache-2.0
"""`wattline selftest`: measure a machine whose truth is known, and say how far off the measurement is.

A simulated meter follows a known law of the CPU time that the kernel accounts for. Containers use CPU time of
known size; the five services run as they always do, on a directory of their own. As root; keeps all CPUs
busy, and takes about half a minute more than --for.
"""

import argparse
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from wattline.errors import Fatal
from wattline.selftest import course, truth
from wattline.selftest.needs import require_fuse

_SECONDS = {"": 1, "s": 1, "m": 60}
# Beyond, idle power is told from so far off that its limit may be missed through no fault.
_QUIET_RATIO_MAX = 0.25
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 if every line passes, 1 if one fails or the test could not be made."""
    parser = argparse.ArgumentParser(prog="wattline selftest", description=__doc__)
    parser.add_argument(
        "--for", dest="measured_s", type=seconds, default="60s", metavar="TIME", help="how long (60s, 2m)"
    )
    parser.add_argument(
        "--cpu-shares",
        type=shares,
        default="10,30,60",
        metavar="N,N,…",
        help="loads in percent of a CPU, a container each; one with a fork storm is added",
    )
    parser.add_argument(
        "--idle-given",
        action="store_true",
        help="tell Wattline the idle power instead of letting it learn (on a machine that never rests)",
    )
    given = parser.parse_args(arguments)
    if os.geteuid() != 0:
        raise Fatal("expected root: eBPF, cgroups and FUSE need it", Fatal.PERMISSION)
    require_fuse()
    try:
        with _orderly_end():
            outcome = course.run(given.measured_s, given.cpu_shares, learn_idle=not given.idle_given)
    except KeyboardInterrupt:
        print("selftest: interrupted; all is stopped and removed")
        return 1
    except (OSError, RuntimeError) as error:
        raise Fatal(f"the test could not be made: {error}") from None
    print(report(outcome))
    return 0 if truth.passes(outcome.lines, outcome.residual) else 1


def report(outcome: course.Outcome) -> str:
    """The table, and what is to be known to read it."""
    used = "; ".join(f"{who}: {cpu_ns / 1e9:.3f} s" for who, cpu_ns in outcome.used)
    stolen = (
        f"stolen by the hypervisor meanwhile, all CPUs: {outcome.stolen_ns / 1e9:.2f} s "
        "(not in the truth, but in Wattline's figures: allowed for upward)"
    )
    quiet = f"the machine by itself was {outcome.quiet_ratio:.0%} busy"
    if outcome.quiet_ratio > _QUIET_RATIO_MAX and outcome.idle_learned:
        quiet += (
            ": too much to learn idle power from (try again when it has less to do, or with --idle-given)"
        )
    return "\n".join(
        [
            "",
            f"CPU time by the kernel's account: {used}",
            stolen,
            quiet,
            f"the meter's law follows {outcome.busy_source}",
            "",
            *truth.table(outcome.lines, outcome.residual),
            "",
            "PASS" if truth.passes(outcome.lines, outcome.residual) else "FAIL",
        ]
    )


def seconds(text: str) -> float:
    """Of "60", "60s" or "2m"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([sm]?)", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"expected a time like 60s or 2m, got {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def shares(text: str) -> list[float]:
    """Ratios of "10,30,60" percent."""
    try:
        found = [float(word) / 100 for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"expected percentages of a CPU like 10,30,60, got {text!r}")
    return found


@contextmanager
def _orderly_end() -> Iterator[None]:
    """The first signal to end is an exception, which unwinds everything; further ones are not heard."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
