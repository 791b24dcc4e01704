# SPDX-License-Identifier: Apache-2.0
"""Frame to bytes and back. Whatever the bytes, decode raises FrameError and nothing else."""

from typing import TypeVar

import msgspec

from .columns import Column
from .frames import FRAME_TYPES, SCHEMA, AnyFrame
from .packed import FrameError, packb, unpackb

FRAME_BYTES_MAX = 64 * 1024 * 1024  # a frame of 100,000 processes takes about 10 MB
_INVALID = (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError)

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
    raw = unpackb(data)
    if not isinstance(raw, dict):
        raise FrameError("not_a_map", f"expected a map, got {type(raw).__name__}")
    schema = raw.get("schema")
    if schema is None:
        raise FrameError("invalid", "expected a schema number, got none")
    if isinstance(schema, int) and schema > SCHEMA:
        raise FrameError(
            "newer_schema",
            f"expected schema {SCHEMA} or older, got {schema}; update this stage to the version of "
            f"{raw.get('producer')!r:.60}",
        )
    named = raw.get("topic")
    frame_type = FRAME_TYPES.get(named) if isinstance(named, str) else None
    if frame_type is None:
        raise FrameError("unknown_topic", f"expected one of {', '.join(FRAME_TYPES)}, got {named!r:.60}")
    if topic is not None and topic != named:
        raise FrameError("wrong_topic", f"expected {topic!r} as the message says, got {named!r}")
    try:
        frame: AnyFrame = msgspec.convert(raw, frame_type, dec_hook=_column_from_wire)
    except _INVALID as error:
        raise FrameError("invalid", f"{named} frame: {error}") from None
    return frame


def _column_to_wire(value: object) -> object:
    if isinstance(value, Column):
        return value.to_wire()
    raise NotImplementedError(f"{type(value).__name__} is not part of a frame")


def _column_from_wire(kind: type, value: object) -> object:
    if issubclass(kind, Column):
        return kind.from_wire(value)
    raise NotImplementedError(f"{kind.__name__} is not part of a frame")


def pack(state: msgspec.Struct) -> bytes:
    """A stage's own state, in the same encoding as a frame (columns included)."""
    return packb(msgspec.to_builtins(state, enc_hook=_column_to_wire, builtin_types=(bytes,)))


def unpack(data: bytes, state_type: type[StateT]) -> StateT:
    """The state that `pack` wrote. Raises FrameError, and nothing else, for any other bytes."""
    try:
        # A stage's own state may have longer columns than a frame: nobody else writes it.
        return msgspec.convert(unpackb(data, len(data)), state_type, dec_hook=_column_from_wire)
    except _INVALID as error:
        raise FrameError("invalid", f"{state_type.__name__}: {error}") from None
