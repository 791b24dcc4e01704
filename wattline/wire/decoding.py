# SPDX-License-Identifier: Apache-2.0
"""From the parts of a map to the struct of a frame or of a stage's own state, each field by its type.

Nothing is built before it is measured.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from . import parts
from .columns import Column
from .packed import FrameError
from .parts import Budget

_COLUMN = msgspec.msgpack.Decoder(tuple[str, bytes])

# From a value's bytes, and its depth below the frame, to the value.
Read = Callable[[memoryview, int, Budget], Any]


class _Field(NamedTuple):
    name: str
    required: bool
    read: Read


def struct(
    kind: type[msgspec.Struct], found: dict[str, memoryview], depth: int, budget: Budget, tag: str = ""
) -> Any:
    """A struct from the values of its map, which lies `depth` levels below the frame; `tag`: a key to skip.

    Unknown keys are skipped, measured in a frame. Raises FrameError, and nothing else, for any other content.
    """
    known = _fields(kind)
    for key, value in found.items():
        if key not in known and key != tag:
            budget.skip(value, depth)
    values = {}
    for name, one in known.items():
        if name in found:
            try:
                values[name] = one.read(found[name], depth, budget)
            except FrameError as error:
                raise FrameError(error.reason, f"{name}: {error.detail}") from None
        elif one.required:
            raise FrameError("invalid", f"expected a field {name!r}, got none")
    try:
        return kind(**values)
    except (ValueError, TypeError, OverflowError) as error:
        raise FrameError("invalid", str(error)) from None


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, _Field]:
    return {
        field.encode_name: _Field(field.name, field.required, _reader(field.type))
        for field in msgspec.structs.fields(kind)
    }


def _reader(kind: Any) -> Read:
    """How a field of a type is read."""
    if kind is str:
        return lambda value, _depth, _budget: parts.text(value)
    if get_origin(kind) is list:
        return _list_reader(get_args(kind)[0])
    if get_origin(kind) is dict:
        return _counts_reader(kind)
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if issubclass(bare, Column):
        return lambda value, _depth, budget: _column(bare, value, budget)
    if issubclass(bare, msgspec.Struct):
        return lambda value, depth, budget: struct(bare, parts.fields(value), depth + 1, budget)
    scalar = msgspec.msgpack.Decoder(kind)
    return lambda value, _depth, _budget: _decoded(scalar, value)


def _list_reader(kind: Any) -> Read:
    if kind is str:
        return lambda value, _depth, budget: parts.texts(value, budget)
    if get_origin(kind) is list:
        read = _list_reader(get_args(kind)[0])
        return lambda value, depth, budget: [
            read(one, depth + 1, budget) for one in parts.items(value, budget)
        ]
    if issubclass(kind, Column):
        return lambda value, _depth, budget: [
            _column(kind, one, budget) for one in parts.items(value, budget)
        ]
    if issubclass(kind, msgspec.Struct):
        return lambda value, depth, budget: [
            struct(kind, parts.fields(one), depth + 2, budget) for one in parts.items(value, budget)
        ]
    return _numbers_reader(kind)


def _numbers_reader(kind: Any) -> Read:
    decoder = msgspec.msgpack.Decoder(list[kind])

    def read(value: memoryview, _depth: int, budget: Budget) -> Any:
        budget.take(parts.count(value) if parts.is_array(value) else 1)
        return _decoded(decoder, value)

    return read


def _counts_reader(kind: Any) -> Read:
    decoder = msgspec.msgpack.Decoder(kind)

    def read(value: memoryview, _depth: int, _budget: Budget) -> Any:
        parts.fields(value)  # for its limit
        return _decoded(decoder, value)

    return read


def _decoded(decoder: msgspec.msgpack.Decoder[Any], value: memoryview) -> Any:
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FrameError("invalid", str(error)) from None


def _column(kind: type[Column], value: memoryview, budget: Budget) -> Column:
    raw = _decoded(_COLUMN, value)
    if len(raw[1]) > 8 * budget.rows_max:
        raise FrameError("not_msgpack", f"expected at most {8 * budget.rows_max} bytes, got {len(raw[1])}")
    try:
        return kind.from_wire(raw)
    except ValueError as error:
        raise FrameError("invalid", str(error)) from None
