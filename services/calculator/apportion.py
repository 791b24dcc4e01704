# SPDX-License-Identifier: Apache-2.0
"""Splitting whole microjoules so that the parts sum to the whole, exactly. Pure."""

from collections.abc import Sequence
from itertools import accumulate


def apportion(total_uj: int, weights: Sequence[int]) -> list[int]:
    """Shares of `total_uj` by weight, in the order of the weights (formula 5 in docs/attribution.md).

    Cumulative rounding: each share is the difference of two floored running totals, so the shares sum to the
    total, none is negative, and each is within 1 µJ of its exact value.
    Edges: weights are not negative and not all 0. Integers of any size: no overflow, no float.
    """
    whole = sum(weights)
    bounds = [total_uj * running // whole for running in accumulate(weights)]
    return [bound - before for before, bound in zip([0, *bounds], bounds, strict=False)]
