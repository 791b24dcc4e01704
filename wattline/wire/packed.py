# SPDX-License-Identifier: Apache-2.0
"""msgpack to plain values and back, within limits. The only module that knows msgpack."""

from typing import Any

import msgpack

ROWS_MAX = 1_000_000  # far above any pid_max in use; bounds what a hostile length can make us allocate
_KEYS_MAX = 4096


class FrameError(ValueError):
    """Bytes that are no frame of ours. `reason` is a short word to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


def packb(value: object) -> bytes:
    """One msgpack value."""
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


def unpackb(data: bytes | memoryview, max_bin_bytes: int = ROWS_MAX * 8) -> Any:
    """The value in `data`. Raises FrameError, and nothing else, whatever the bytes."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            unicode_errors="backslashreplace",
            strict_map_key=True,
            max_str_len=65536,
            max_bin_len=max_bin_bytes,
            # An element takes a byte at least, so a few bytes can't ask for megabytes.
            max_array_len=min(ROWS_MAX, len(data)),
            max_map_len=_KEYS_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise FrameError("not_msgpack", f"{type(error).__name__}: {error!s:.200}") from None
