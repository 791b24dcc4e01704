# SPDX-License-Identifier: Apache-2.0
"""Accounts as columns. Pure."""

from collections.abc import Sequence

from wattline.wire.columns import U64


def per_zone(accounts_uj: Sequence[Sequence[int]], zone_count: int) -> list[U64]:
    """One column per zone from one sequence per account, turned over as a whole."""
    return [U64(column) for column in zip(*accounts_uj, strict=True)] or [
        U64() for _zone in range(zone_count)
    ]
