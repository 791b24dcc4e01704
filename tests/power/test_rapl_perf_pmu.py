# SPDX-License-Identifier: Apache-2.0
"""What sysfs says of the PMU and of CPUs: scales and lists."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.power.rapl_perf_pmu import scale

from .perf_machine import SCALE


@given(st.lists(st.integers(0, 2**48), min_size=1, max_size=50))
def test_no_count_is_ever_rounded_twice(steps):
    """Whatever the readings in between, energy up to a count is that count in µJ, rounded down once."""
    per_count = scale(SCALE) * 1_000_000
    assert per_count == Fraction(10**6, 2**32)
    counts = [sum(steps[: place + 1]) for place in range(len(steps))]
    shown = [count * per_count.numerator // per_count.denominator for count in counts]
    advances = [later - earlier for earlier, later in zip([0, *shown], shown, strict=False)]
    assert sum(advances) == counts[-1] * 10**6 // 2**32
    assert min(advances) >= 0
