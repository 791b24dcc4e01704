# SPDX-License-Identifier: Apache-2.0
"""Damaged input to every decoder: only the documented errors, bounded memory, and no hang.

FUZZ_SECONDS sets how long each runs, FUZZ_SEED which inputs it makes (docs/fuzzing.md).
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .table import DECODERS

# Inputs in `make test`: about two seconds each, always the same ones.
INPUTS = {
    "frames": 700, "recordings": 700, "ledger": 900, "slots": 1200, "paths": 3000,
    "docker": 2500, "sysfs": 600, "proc": 800, "settings": 200, "http": 1200,
}  # fmt: skip


def fuzz(name: str, place: Path, *, seed: str, seconds: str | None, inputs: int | None = None) -> None:
    """Run one in a process of its own, which may be killed; an AssertionError says how to repeat a fault."""
    seed = os.environ.get("FUZZ_SEED") or seed
    seconds = os.environ.get("FUZZ_SECONDS") or seconds
    size = ["--seconds", seconds] if seconds else ["--inputs", str(inputs)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--seed", seed, "--place", place, *size],
        stdout=subprocess.PIPE,
        text=True,
    )
    again = f"again: python -m tests.fuzz {name} --seed {seed} --input"
    if run.returncode < 0:
        number = int((place / "progress").read_text(encoding="ascii") or 0)
        ended = "hung" if run.returncode == -signal.SIGALRM else f"ended by signal {-run.returncode}"
        raise AssertionError(f"{name}: {ended} at input {number}; {again} {number}")
    found = json.loads(run.stdout)
    print(
        f"{name}: seed {seed}, {found['inputs']:,} inputs, {found['accepted']:,} accepted, "
        f"{len(found['faults'])} kinds of faults; at most {found['memory_bytes_max'] / 1e6:.1f} MB for one "
        f"input (of {found['memory_input_bytes'] / 1e6:.1f} MB) and {found['cpu_s_max']:.2f} s of CPU time; "
        f"RSS {found['rss_before_bytes'] / 1e6:.0f} MB before, {found['rss_after_bytes'] / 1e6:.0f} MB after"
    )
    faults = [
        f"{name}: {kind}: {words}\n    {again} {number}" for kind, (number, words) in found["faults"].items()
    ]
    assert not faults, "\n".join(faults)
    assert found["inputs"] > 0


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_damaged_input(name, run_directory):
    """A few hundred inputs, the same in each run."""
    fuzz(name, run_directory, seed="1", seconds=None, inputs=INPUTS[name])


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_damaged_input_for_some_time(run_directory):
    """Other inputs than above, for 20 s each, as many at a time as there are CPUs.

    Of one seed, so that a change fails by its own faults only.
    """

    def campaign(name: str) -> None:
        place = run_directory / name
        place.mkdir()
        fuzz(name, place, seed="2", seconds="20")

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = [pool.submit(campaign, name) for name in sorted(DECODERS)]
    errors = [str(one.exception()) for one in done if one.exception() is not None]
    assert not errors, "\n".join(errors)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(DECODERS))
def test_damaged_input_for_ten_minutes(name, run_directory):
    """Inputs that no run before has had, for ten minutes."""
    fuzz(name, run_directory, seed=os.urandom(4).hex(), seconds="600")
