# SPDX-License-Identifier: Apache-2.0
"""What a zone's dynamic energy is shared by. Pure; formulas 5 and 6 in docs/attribution.md."""

from typing import NamedTuple

import numpy as np

from .columns import Ints
from .model import FEATURES, PowerModel
from .rules import MODEL
from .timeline import Window

# What tells best who used a zone, best first; the first that the window has anything of is taken.
_BY_CYCLES = ("cycles", "frequency", "cpu_time")
_PREFERRED = {
    "package": _BY_CYCLES,
    "core": _BY_CYCLES,
    "dram": ("cache_misses", "cpu_time"),
    "gpu": ("gpu_time",),
}
_OTHERWISE = ("cpu_time",)
NOTHING = ""


class Share(NamedTuple):
    """Weights of the window's accounts, and what they are."""

    weights: Ints | None
    share_by: str


def choose(zone: str, window: Window, socket: int | None, model: PowerModel, method: str) -> Share:
    """The weights to share by; None if nobody used anything."""
    if method == MODEL and model.has_learned and (amounts := _amounts(window, socket)) is not None:
        weights = np.rint(model.energies_nj(amounts)).astype(np.int64)
        if weights.any():
            return Share(weights, MODEL)
    for feature in _PREFERRED.get(zone, _OTHERWISE):
        weights_of = window.of(feature, socket)
        if weights_of is not None and weights_of.any():
            return Share(weights_of, feature)
    return Share(None, NOTHING)


def learn(model: PowerModel, energy_uj: int, time_ns: int, window: Window, socket: int | None) -> None:
    """Let a zone's model see a window, unless the energy is of a part of it only."""
    amounts = _amounts(window, socket)
    if amounts is not None and time_ns == window.end_ns - window.start_ns:
        model.observe(energy_uj, time_ns, amounts.sum(axis=1))


def _amounts(window: Window, socket: int | None) -> np.typing.NDArray[np.float64] | None:
    """[feature, account] for the model; what the machine can't count is 0. None without CPU time."""
    columns = [window.of(feature, socket) for feature in FEATURES]
    if columns[0] is None:
        return None
    none = np.zeros(len(window.accounts))
    return np.array([none if column is None else column for column in columns], np.float64)
