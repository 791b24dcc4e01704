# SPDX-License-Identifier: Apache-2.0
"""Fields of a protobuf message in bytes. Pure.

Source: "Encoding" in Protocol Buffers' documentation. Groups (wire types 3 and 4) are refused: proto3 has
none.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX = 10
_NUMBER_MAX = (1 << 29) - 1
_U64_MAX = (1 << 64) - 1


class Budget:
    """Fields that may still be read, in a message and all that it contains."""

    def __init__(self, fields: int) -> None:
        self._limit = self._left = fields

    def take(self) -> None:
        """Read one more field. Raises ValueError if there are too many."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"expected at most {self._limit} fields, got more")


def byte_fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of each field with wire type 2: texts, bytes, messages, packed numbers.

    Fields of other types are skipped. Each field is taken from the budget, a skipped one too. Raises
    ValueError where the bytes are no message.
    """
    at = 0
    while at < len(data):
        budget.take()
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number <= _NUMBER_MAX:
            raise ValueError(f"expected a field's number from 1 to {_NUMBER_MAX}, got {number}")
        if wire_type == _VARINT:
            _, at = _varint(data, at)
            continue
        if wire_type == _BYTES:
            size, at = _varint(data, at)
        elif wire_type in _FIXED_BYTES:
            size = _FIXED_BYTES[wire_type]
        else:
            raise ValueError(f"expected a field of wire type 0, 1, 2 or 5, got {wire_type}")
        end = at + size
        if end > len(data):
            raise ValueError(f"expected {size} bytes in field {number}, got {len(data) - at}")
        if wire_type == _BYTES:
            yield number, data[at:end]
        at = end


def text(content: memoryview, bytes_max: int) -> str:
    """A text field. Raises ValueError if it is longer than that, or not UTF-8."""
    if len(content) > bytes_max:
        raise ValueError(f"expected a text of at most {bytes_max} bytes, got {len(content)}")
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError:
        raise ValueError("expected a text in UTF-8, got other bytes") from None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(an integer from 0 to 2⁶⁴ − 1, where the bytes after it begin). Raises ValueError."""
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(data):
            raise ValueError("expected the rest of a number, got the end of the message")
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 the bit that says that more follow
            if value > _U64_MAX:
                raise ValueError("expected a number of at most 64 bits, got a larger one")
            return value, at + place + 1
    raise ValueError(f"expected a number of at most {_VARINT_BYTES_MAX} bytes, got a longer one")
