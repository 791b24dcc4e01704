# SPDX-License-Identifier: Apache-2.0
"""Splitting whole microjoules so that the parts sum to the whole, exactly. Pure."""

from itertools import accumulate

import numpy as np

from .columns import Ints

# Within these the floating-point guess is at most a few units off, and the remainder fits 64 bits. They are
# two weeks of a thousand CPUs in one window, and a gigajoule in it.
_WEIGHTS_MAX = 2**60
_TOTAL_MAX = 2**50


def apportion(total_uj: int, weights: Ints) -> Ints:
    """Shares of `total_uj` by weight, in the order of the weights (formula 5 in docs/attribution.md).

    Cumulative rounding: each share is the difference of two floored running totals, so the shares sum to the
    total, none is negative, and each is within 1 µJ of its exact value.
    Edges: weights are not negative and not all 0.
    """
    if total_uj >= _TOTAL_MAX or weights.sum(dtype=np.float64) >= _WEIGHTS_MAX:
        return _apportion_unbounded(total_uj, weights)
    running = np.cumsum(weights)
    whole = int(running[-1])
    bounds = (running * (total_uj / whole)).astype(np.int64)
    # total·running − bounds·whole is small: computed modulo 2⁶⁴ it is exact, though its two terms are not.
    bounds += (running * np.int64(total_uj) - bounds * np.int64(whole)) // whole
    return np.diff(bounds, prepend=0)


def _apportion_unbounded(total_uj: int, weights: Ints) -> Ints:
    """The same in Python's integers, which have no largest one."""
    running = list(accumulate(weights.tolist()))
    bounds = [total_uj * one // running[-1] for one in running]
    return np.array([bound - before for before, bound in zip([0, *bounds], bounds, strict=False)], np.int64)
