# SPDX-License-Identifier: Apache-2.0
"""The setting container-patterns: rows that an operator adds to the table in places.py. Pure."""

import re

from .place_pattern import parse

PATTERNS_MAX = 32
_RUNTIME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def parse_container_patterns(text: str) -> list[tuple[str, str]]:
    """(runtime, pattern) of each part of `RUNTIME=PATTERN,RUNTIME=PATTERN`; none for an empty text.

    Raises ValueError naming the part, what is wrong with it and what to write.
    """
    if not text.strip():
        return []
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > PATTERNS_MAX:
        raise ValueError(f"expected at most {PATTERNS_MAX} patterns, got {len(parts)}")
    found = []
    for part in parts:
        runtime, equals, pattern = part.partition("=")
        if not equals or not _RUNTIME.fullmatch(runtime):
            raise ValueError(
                f"{part!r:.80}: expected RUNTIME=PATTERN, the runtime as 1 to 32 lowercase letters, digits "
                f"and dashes; got runtime {runtime!r:.40}"
            )
        try:
            parse(pattern)
        except ValueError as error:
            raise ValueError(f"pattern {pattern!r:.80} of {runtime}: {error}") from None
        found.append((runtime, pattern))
    return found
