# SPDX-License-Identifier: Apache-2.0
"""Frame to bytes and back. Whatever the bytes, decode raises FrameError and nothing else."""

from typing import TypeVar

import msgspec

from . import parts
from .columns import Column
from .decoding import struct
from .frames import FRAME_TYPES, SCHEMA, AnyFrame
from .packed import FrameError, packb

FRAME_BYTES_MAX = 64 * 1024 * 1024  # a frame of 100,000 processes takes about 10 MB
_PLAIN = msgspec.msgpack.Decoder(int | str | None)

StateT = TypeVar("StateT", bound=msgspec.Struct)


def encode(frame: AnyFrame) -> bytes:
    """One msgpack map. Raises FrameError if it is too large to be accepted by a reader."""
    builtins = msgspec.to_builtins(frame, enc_hook=_column_to_wire, builtin_types=(bytes,))
    data = packb(builtins)
    if len(data) > FRAME_BYTES_MAX:
        raise FrameError("too_large", f"expected at most {FRAME_BYTES_MAX} bytes, got {len(data)}")
    return data


def decode(data: bytes | memoryview, topic: str | None = None) -> AnyFrame:
    """The frame in `data`, checked in every field; of `topic`, if one is given."""
    if len(data) > FRAME_BYTES_MAX:
        raise FrameError("too_large", f"expected at most {FRAME_BYTES_MAX} bytes, got {len(data)}")
    found = _top(data)
    named = _named(found, topic)
    budget = parts.Budget(len(data))
    try:
        frame: AnyFrame = struct(FRAME_TYPES[named], found, 1, budget, tag="topic")
    except FrameError as error:
        raise FrameError(error.reason, f"{named} frame: {error.detail}") from None
    return frame


def _top(data: bytes | memoryview) -> dict[str, memoryview]:
    if data and not parts.is_map(data):
        try:
            msgspec.msgpack.decode(data, type=msgspec.Raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise FrameError("not_msgpack", str(error)) from None
        raise FrameError("not_a_map", "expected a map, got another MessagePack value")
    if not data:
        raise FrameError("not_msgpack", "expected a map, got no bytes")
    return parts.fields(data)


def _named(found: dict[str, memoryview], topic: str | None) -> str:
    """The frame's topic, after its schema."""
    schema = _plain(found.get("schema"))
    if schema is None:
        raise FrameError("invalid", "expected a schema number, got none")
    if isinstance(schema, int) and schema > SCHEMA:
        raise FrameError(
            "newer_schema",
            f"expected schema {SCHEMA} or older, got {schema}; update this stage to the version of "
            f"{_plain(found.get('producer'))!r:.60}",
        )
    named = _plain(found.get("topic"))
    if not isinstance(named, str) or named not in FRAME_TYPES:
        raise FrameError("unknown_topic", f"expected one of {', '.join(FRAME_TYPES)}, got {named!r:.60}")
    if topic is not None and topic != named:
        raise FrameError("wrong_topic", f"expected {topic!r} as the message says, got {named!r}")
    return named


def _plain(value: memoryview | None) -> int | str | None:
    """A number or a text; the kind of value in words for anything else, which is not looked at."""
    if value is None:
        return None
    try:
        plain: int | str | None = _PLAIN.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return "another kind of value"
    return plain


def _column_to_wire(value: object) -> object:
    if isinstance(value, Column):
        return value.to_wire()
    raise NotImplementedError(f"{type(value).__name__} is not part of a frame")


def pack(state: msgspec.Struct) -> bytes:
    """A stage's own state, in the same encoding as a frame (columns included)."""
    return packb(msgspec.to_builtins(state, enc_hook=_column_to_wire, builtin_types=(bytes,)))


def unpack(data: bytes, state_type: type[StateT]) -> StateT:
    """The state that `pack` wrote. Raises FrameError, and nothing else, for any other bytes."""
    try:
        state: StateT = struct(state_type, _top(data), 1, parts.Budget(len(data), own=True))
    except FrameError as error:
        raise FrameError(error.reason, f"{state_type.__name__}: {error.detail}") from None
    return state
