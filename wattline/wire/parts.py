# SPDX-License-Identifier: Apache-2.0
"""The parts of a MessagePack value, taken apart without making objects of them.

A byte of MessagePack can stand for an object of sixty bytes, so what a stranger has sent is measured first.
"""

from typing import Final, NamedTuple

import msgspec

from .packed import FrameError

ROWS_MAX = 1_000_000  # far above any pid_max in use; bounds what a hostile length can make us allocate
KEYS_MAX = 4096
LISTS_MAX = 256  # zones, counters, sources: far more than any machine has
_OWN_LISTS_MAX = 16_384  # in a ledger: zones that have ever been, counters on each socket
TEXT_BYTES_MAX = 65536
BIN_BYTES_MAX = ROWS_MAX * 8
DEPTH_MAX = 8
# A short text takes 72 bytes of memory: with these, a frame takes about four times its own size at most.
_ELEMENTS_MIN = 250_000
_BYTES_PER_ELEMENT = 24
_EMPTY_PER_ELEMENT = 8

# The bytes of one value.
Part = bytes | memoryview

_FIELDS = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TEXTS = msgspec.msgpack.Decoder(list[str])
_TEXT = msgspec.msgpack.Decoder(str)


class _Head(NamedTuple):
    """What the first byte of a value tells of it.

    `own_bytes`: head and value together, where the byte tells that. `width`: else the bytes of the length or
    count that follows, at most `limit`. `per_count`: elements for each that is counted; 0 for text and bin.
    `elements`: those that follow; -1 if the value can have none.
    """

    own_bytes: int = 1
    width: int = 0
    limit: int = 0
    per_count: int = 0
    elements: int = -1


def _heads() -> dict[int, _Head]:
    """Heads by first byte, of all kinds but extensions. Source: the MessagePack specification, "Formats"."""
    heads = dict.fromkeys(
        (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3), _Head()
    )  # small numbers, nil, bools
    heads |= {0x80 + number: _Head(elements=2 * number) for number in range(16)}  # fixmap
    heads |= {0x90 + number: _Head(elements=number) for number in range(16)}  # fixarray
    heads |= {0xA0 + length: _Head(1 + length) for length in range(32)}  # fixstr
    heads |= {0xCA: _Head(5), 0xCB: _Head(9)}  # floats
    for power in range(4):  # natural numbers, whole numbers
        heads |= {0xCC + power: _Head(1 + (1 << power)), 0xD0 + power: _Head(1 + (1 << power))}
    for power in range(3):
        heads[0xC4 + power] = _Head(width=1 << power, limit=BIN_BYTES_MAX)
        heads[0xD9 + power] = _Head(width=1 << power, limit=TEXT_BYTES_MAX)
    for power in (1, 2):
        heads[0xDB + power] = _Head(width=1 << power, limit=ROWS_MAX, per_count=1)  # array
        heads[0xDD + power] = _Head(width=1 << power, limit=KEYS_MAX, per_count=2)  # map
    return heads


_HEADS: Final = _heads()
_TEXTS_BEGIN: Final = frozenset({*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB})
_ARRAYS_BEGIN: Final = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
_MAPS_BEGIN: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})


class Budget:
    """The elements that a value of some size may still have, and how long its columns and lists may be.

    `own`: a stage's own state. Its columns may be as long as its bytes allow, its lists longer than a
    frame's, and keys of another version are skipped unmeasured.
    """

    def __init__(self, value_bytes: int, *, own: bool = False) -> None:
        self.allowed = _ELEMENTS_MIN + value_bytes // _BYTES_PER_ELEMENT
        self._left = self.allowed
        self.rows_max = value_bytes if own else ROWS_MAX
        self.lists_max = _OWN_LISTS_MAX if own else LISTS_MAX
        self._measures_unknown = not own

    def skip(self, value: Part, depth: int) -> None:
        """Account for the value of an unknown key, which is not made. Raises FrameError as `measure`."""
        if self._measures_unknown:
            measure(value, depth, self)

    def take(self, elements: int) -> None:
        """Count some elements. Raises FrameError when there are too many."""
        self._left -= elements
        if self._left < 0:
            raise FrameError(
                "too_many",
                f"expected at most {self.allowed} elements in a value of this size, got more",
            )


def is_map(data: Part) -> bool:
    """True if the value is a map."""
    return len(data) > 0 and data[0] in _MAPS_BEGIN


def is_array(data: Part) -> bool:
    """True if the value is an array."""
    return len(data) > 0 and data[0] in _ARRAYS_BEGIN


def count(data: Part) -> int:
    """Elements of an array, or pairs of a map, as its header says."""
    width = _HEADS[data[0]].width
    return int.from_bytes(data[1 : 1 + width], "big") if width else data[0] & 0x0F


def fields(data: Part) -> dict[str, memoryview]:
    """The values of a map by key, not decoded. Raises FrameError, and nothing else, for any other bytes."""
    if not is_map(data):
        raise FrameError("invalid", "expected a map")
    if count(data) > KEYS_MAX:
        raise FrameError("not_msgpack", f"expected a map of at most {KEYS_MAX} keys, got {count(data)}")
    try:
        found = _FIELDS.decode(data)
    except msgspec.ValidationError as error:
        raise FrameError("invalid", str(error)) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FrameError("not_msgpack", str(error)) from None
    if max(map(len, found), default=0) > TEXT_BYTES_MAX:
        raise FrameError("not_msgpack", f"expected keys of at most {TEXT_BYTES_MAX} bytes")
    return {key: memoryview(value) for key, value in found.items()}


def items(data: Part, budget: Budget) -> list[memoryview]:
    """The items of an array, not decoded. Raises FrameError, and nothing else, for any other bytes."""
    if not is_array(data):
        raise FrameError("invalid", "expected an array")
    if count(data) > budget.lists_max:
        raise FrameError(
            "invalid", f"expected an array of at most {budget.lists_max} items, got {count(data)}"
        )
    budget.take(count(data))
    try:
        return [memoryview(item) for item in _ITEMS.decode(data)]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FrameError("invalid", str(error)) from None


def measure(data: Part, depth: int, budget: Budget) -> None:
    """Count the elements of a value that is not decoded, `depth` levels below the frame.

    Raises FrameError if they are too many, nest too deeply, or are larger or of another kind than the wire
    allows.
    """
    view = memoryview(data)
    open_counts: list[int] = []  # of each array and map around the position: elements yet to come
    position = 0
    while True:
        position, elements = _head(view, position)
        budget.take(1)
        if elements >= 0:
            if depth + len(open_counts) + 1 > DEPTH_MAX:
                raise FrameError("not_msgpack", f"expected at most {DEPTH_MAX} levels, got more")
            open_counts.append(elements)
        while open_counts and not open_counts[-1]:
            open_counts.pop()
        if not open_counts:
            return
        open_counts[-1] -= 1


def _head(view: memoryview, position: int) -> tuple[int, int]:
    """(the position after a value's own bytes, how many elements follow; -1 if it can have none)."""
    head = _HEADS.get(view[position])
    if head is None:
        raise FrameError("not_msgpack", f"expected no extension types, got the byte {view[position]:02x}")
    if not head.width:
        return position + head.own_bytes, head.elements
    end = position + 1 + head.width
    number = int.from_bytes(view[position + 1 : end], "big")
    if number > head.limit:
        what = "elements" if head.per_count else "bytes of text or bin"
        raise FrameError("not_msgpack", f"expected at most {head.limit} {what}, got {number}")
    return (end, head.per_count * number) if head.per_count else (end + number, -1)


def texts(data: Part, budget: Budget) -> list[str]:
    r"""A text column; a byte that isn't UTF-8 becomes \xff. Raises FrameError for any other bytes."""
    if not is_array(data):
        raise FrameError("invalid", "expected an array of texts")
    number = count(data)
    if number > budget.rows_max:
        raise FrameError("invalid", f"expected at most {budget.rows_max} rows, got {number}")
    # A text of one byte or none is an object that Python has already: a pointer each.
    budget.take(number // _EMPTY_PER_ELEMENT + min(number, (len(data) - number) // 2))
    try:
        return _TEXTS.decode(data)
    except msgspec.ValidationError as error:
        raise FrameError("invalid", str(error)) from None
    except msgspec.DecodeError:
        return _lenient_texts(memoryview(data), number)


def text(data: Part) -> str:
    """A single text, as `texts`."""
    try:
        found = _TEXT.decode(data)
    except msgspec.ValidationError as error:
        raise FrameError("invalid", str(error)) from None
    except msgspec.DecodeError:
        (found,) = _lenient_texts(memoryview(data), 1, 0)
    if len(found) > TEXT_BYTES_MAX:
        raise FrameError("not_msgpack", f"expected a text of at most {TEXT_BYTES_MAX} bytes")
    return found


def _lenient_texts(view: memoryview, number: int, position: int | None = None) -> list[str]:
    """Texts that may not be UTF-8: those of an array, or those at a position.

    One after another, because an object for each undecoded item would take more than the texts.
    """
    end = 1 + _HEADS[view[0]].width if position is None else position
    found = []
    for _text in range(number):
        start = end
        end, _elements = _head(view, start)
        if view[start] not in _TEXTS_BEGIN:
            raise FrameError("invalid", "expected a text")
        found.append(
            bytes(view[start + 1 + _HEADS[view[start]].width : end]).decode("utf-8", "backslashreplace")
        )
    return found
