# SPDX-License-Identifier: Apache-2.0
"""The age of a last frame and the state of its publisher, as text. Pure."""

from wattline.health import limit_ns
from wattline.wire.frames import AnyFrame

_NS_PER_S = 1e9
_PRECISE_S = 10
# A unit is used from this many seconds on; a figure below 2 would be too coarse.
_UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min"))


def remark(frame: AnyFrame, publisher: int | None, *, boot_id: str, mono_ns: int, unix_ns: int) -> str:
    """Text like "(1.2 s old, published by pid 123)".

    `publisher`: holder of the service's lock. It may be unknown while the service runs, as seen from another
    container, so only an old frame without a holder has lost its publisher. The times are the present.
    """
    if frame.boot_id != boot_id:
        age_s = max(0.0, (unix_ns - frame.unix_ns) / _NS_PER_S)
        return f"({_age(age_s)} old, of an earlier boot or another machine)"
    age_s = max(0.0, (mono_ns - frame.mono_ns) / _NS_PER_S)
    if publisher is not None:
        return f"({_age(age_s)} old, published by pid {publisher})"
    if is_fresh(frame, mono_ns):
        return f"({_age(age_s)} old)"
    return f"({_age(age_s)} old, its publisher has ended)"


def is_fresh(frame: AnyFrame, mono_ns: int) -> bool:
    """True for a frame of this boot so young that its publisher must have been alive just now."""
    return 0 <= mono_ns - frame.mono_ns <= limit_ns(frame)


def _age(age_s: float) -> str:
    for from_s, unit_s, name in _UNITS:
        if age_s >= from_s:
            return f"{age_s / unit_s:.0f} {name}"
    return f"{age_s:.1f} s" if age_s < _PRECISE_S else f"{age_s:.0f} s"
