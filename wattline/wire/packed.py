# SPDX-License-Identifier: Apache-2.0
"""Plain values to msgpack, and a few numbers back. The only module that knows the package msgpack."""

from collections.abc import Container

import msgpack

_UNPACKING = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


class FrameError(ValueError):
    """Bytes that are no frame of ours. `reason` is a short word to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.detail = message


def packb(value: object) -> bytes:
    """One msgpack value."""
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


def naturals(data: bytes, names: Container[str]) -> dict[str, int]:
    """Those of the named keys in a map that are there; everything else in it is skipped unmade.

    Raises FrameError for a named value that is no natural number, and for what is no such map.
    """
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(data), strict_map_key=True, max_array_len=0, max_map_len=0, max_ext_len=0
    )
    unpacker.feed(data)
    found = {}
    try:
        for _key in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key not in names:
                unpacker.skip()
                continue
            value = unpacker.unpack()
            if type(value) is not int or value < 0:
                raise FrameError("invalid", f"{key}: expected a natural number, got {value!r:.60}")
            found[key] = value
    except _UNPACKING as error:
        raise FrameError("not_msgpack", f"{type(error).__name__}: {error!s:.200}") from None
    return found
