# SPDX-License-Identifier: Apache-2.0
"""Dividing what there is among those who claim it. Pure."""


def share(claims_ns: dict[int, int], most_ns: int) -> dict[int, int]:
    """Each gets its claim, or all together at most `most_ns`, in proportion and rounded down."""
    total_ns = sum(claims_ns.values())
    if total_ns <= most_ns:
        return claims_ns
    return {key: claim_ns * most_ns // total_ns for key, claim_ns in claims_ns.items()}
