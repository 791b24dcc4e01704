# SPDX-License-Identifier: Apache-2.0
"""Lines of a watch out of the bytes that come. Pure."""

from . import answers


class Lines:
    """Bytes into lines. A line that is longer than an object can be is skipped, and is None."""

    def __init__(self, longest: int = answers.OBJECT_BYTES_MAX + 1024) -> None:
        self.is_over = False
        self._longest = longest
        self._rest = bytearray()
        self._is_skipping = False

    def take(self, part: bytes) -> list[bytes | None]:
        """The lines that this part completes. An empty part is the end; an incomplete line is lost then."""
        if not part:
            self.is_over = True
            return []
        found: list[bytes | None] = []
        *whole, rest = part.split(b"\n")
        for piece in whole:
            self._add(piece)
            if self._is_skipping:
                found.append(None)
            elif self._rest:
                found.append(bytes(self._rest))
            self._rest.clear()
            self._is_skipping = False
        self._add(rest)
        return found

    def _add(self, piece: bytes) -> None:
        if self._is_skipping or len(self._rest) + len(piece) > self._longest:
            self._is_skipping = True
            self._rest.clear()
        else:
            self._rest += piece
