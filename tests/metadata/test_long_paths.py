# SPDX-License-Identifier: Apache-2.0
"""Paths as long as there may be, of what the patterns look for: work grows with their length, no more."""

import pytest

from services.metadata.cgroup_path import identify
from services.metadata.process_cgroup import cgroup2_tells, container_of
from tests.fuzz.decoders.paths import LONG, long

from .cost import least_s

LONGER = 8  # times as long takes 8 times the work; 64 times if it grew with the square
SIZE = 4095


@pytest.mark.parametrize(
    ("call", "ending"),
    [(identify, ""), (identify, ".scope"), (identify, ".slice"), (container_of, "x"), (cgroup2_tells, "")],
)
def test_work_grows_with_the_length(call, ending):
    """Whatever a path repeats, and however it ends."""
    for word in LONG:
        short, longer = (
            long(word, ending.encode(), size).decode("utf-8", "backslashreplace")
            for size in (SIZE, LONGER * SIZE)
        )
        if call is not identify:
            short, longer = f"4:cpu:{short}\n0::{short}\n", f"4:cpu:{longer}\n0::{longer}\n"
        ratio = least_s(call, longer) / least_s(call, short)
        assert ratio < 4 * LONGER, (word, ratio)
