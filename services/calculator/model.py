# SPDX-License-Identifier: Apache-2.0
"""What each kind of work costs, learned from the node's own power. Pure; formula 6 in docs/attribution.md.

Power is fitted by non-negative weights on the rates of CPU time, cycles, instructions and cache misses, and
a constant. The weights tell how to share what was measured; they never change how much there is to share.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

FEATURES = ("cpu_time", "cycles", "instructions", "cache_misses")
# So that all rates are of the order of one: a CPU's second, a thousand million events, a million misses.
_SCALES = np.array([1e9, 1e9, 1e9, 1e6])
_CPU_TIME, _CYCLES, _CONSTANT = 0, 1, len(FEATURES)
_TERMS = len(FEATURES) + 1
_HALF_LIFE_S = 600.0
_ERROR_HALF_LIFE_S = 60.0
# Windows seen before a model is believed.
_LEARNED_S = 30.0
# It is believed while it foretells each next window better than plain shares do, and within this much.
_ERROR_RATIO_MAX = 0.2
_RIDGE = 1e-6
_TINY = 1e-12  # of weights and slopes that are of the order of one
_FIT_NUMBERS = 1 + _TERMS * _TERMS + 2 * _TERMS

Floats = NDArray[np.float64]


@dataclass
class Fit:
    """Least squares with forgetting, and how well it foretold each window."""

    gram: Floats = field(default_factory=lambda: np.zeros((_TERMS, _TERMS)))
    moment: Floats = field(default_factory=lambda: np.zeros(_TERMS))
    error_w: float = 0.0  # mean absolute error lately
    weights: Floats = field(default_factory=lambda: np.zeros(_TERMS))  # W per unit of each rate

    def to_floats(self) -> list[float]:
        """What it has learned, as numbers."""
        return [self.error_w, *self.gram.ravel().tolist(), *self.moment.tolist(), *self.weights.tolist()]

    def from_floats(self, numbers: list[float]) -> None:
        """Go on from what `to_floats` gave."""
        self.error_w = numbers[0]
        square = _TERMS * _TERMS
        self.gram = np.array(numbers[1 : 1 + square]).reshape(_TERMS, _TERMS)
        self.moment = np.array(numbers[1 + square : 1 + square + _TERMS])
        self.weights = np.array(numbers[1 + square + _TERMS :])

    def take(self, rates: Floats, power_w: float, time_s: float, terms: tuple[int, ...]) -> None:
        """Learn from one window by some of the terms, having first foretold it."""
        miss_w = abs(float(self.weights @ rates) - power_w)
        fade = 0.5 ** (time_s / _ERROR_HALF_LIFE_S)
        self.error_w = self.error_w * fade + miss_w * (1 - fade)
        keep = 0.5 ** (time_s / _HALF_LIFE_S)
        self.gram = self.gram * keep + np.outer(rates, rates) * time_s
        self.moment = self.moment * keep + rates * power_w * time_s
        self.weights = _non_negative(self.gram, self.moment, terms)


@dataclass
class PowerModel:
    """One zone's model, beside one by what plain shares go by, to measure it by."""

    seen_s: float = 0.0
    mean_w: float = 0.0
    full: Fit = field(default_factory=Fit)
    plain: Fit = field(default_factory=Fit)

    def to_floats(self) -> list[float]:
        """What it has learned, as numbers; none if it has seen nothing."""
        if not self.seen_s:
            return []
        return [self.seen_s, self.mean_w, *self.full.to_floats(), *self.plain.to_floats()]

    @classmethod
    def from_floats(cls, numbers: list[float]) -> Self:
        """The model that `to_floats` gave. Raises ValueError for another number of numbers."""
        model = cls()
        if not numbers:
            return model
        if len(numbers) != 2 + 2 * _FIT_NUMBERS:
            raise ValueError(f"power model: expected {2 + 2 * _FIT_NUMBERS} numbers, got {len(numbers)}")
        model.seen_s, model.mean_w = numbers[:2]
        model.full.from_floats(numbers[2 : 2 + _FIT_NUMBERS])
        model.plain.from_floats(numbers[2 + _FIT_NUMBERS :])
        return model

    def observe(self, energy_uj: int, time_ns: int, amounts: Floats) -> None:
        """Take one window: what the zone used, and how much of each feature there was in all."""
        if time_ns <= 0:
            return
        time_s = time_ns / 1e9
        rates = np.append(amounts / _SCALES / time_s, 1.0)
        power_w = energy_uj / 1e6 / time_s
        fade = 0.5 ** (time_s / _ERROR_HALF_LIFE_S)
        self.mean_w = self.mean_w * fade + power_w * (1 - fade)
        self.seen_s += time_s
        plainly = _CYCLES if amounts[_CYCLES] else _CPU_TIME
        self.full.take(rates, power_w, time_s, tuple(range(_TERMS)))
        self.plain.take(rates, power_w, time_s, (plainly, _CONSTANT))

    @property
    def error_ratio(self) -> float:
        """Mean error of what it foretold lately, of the mean power."""
        return self.full.error_w / self.mean_w if self.mean_w else 0.0

    @property
    def has_learned(self) -> bool:
        """Whether its shares are better founded than plain ones."""
        return (
            self.seen_s >= _LEARNED_S
            and self.error_ratio <= _ERROR_RATIO_MAX
            and self.full.error_w < self.plain.error_w
            and bool(self.full.weights[:-1].any())
        )

    def energies_nj(self, amounts: Floats) -> Floats:
        """What the weights say each row used; `amounts` is [feature, row]."""
        energies: Floats = (self.full.weights[:-1] / _SCALES * 1e9) @ amounts
        return energies


def _non_negative(gram: Floats, moment: Floats, terms: tuple[int, ...]) -> Floats:
    """The non-negative weights of least squared error, by leaving out what would be negative.

    Active sets after Lawson and Hanson, "Solving Least Squares Problems" (1974), chapter 23, on the normal
    equations: there are five unknowns.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    normal = gram / np.outer(scale, scale) + np.eye(_TERMS) * _RIDGE
    target = moment / scale
    usable = [term for term in terms if gram[term, term] > 0]
    chosen: list[int] = []
    weights = np.zeros(_TERMS)
    for _step in range(3 * _TERMS):
        slope = target - normal @ weights
        waiting = [term for term in usable if term not in chosen and slope[term] > _TINY]
        if not waiting:
            break
        chosen.append(max(waiting, key=slope.__getitem__))
        while chosen:
            solved = np.linalg.solve(normal[np.ix_(chosen, chosen)], target[chosen])
            if solved.min() > 0:
                weights = np.zeros(_TERMS)
                weights[chosen] = solved
                break
            # Go towards the solution until the first weight reaches 0, and leave that one out.
            now = weights[chosen]
            falling = solved <= 0
            step = np.min(now[falling] / (now[falling] - solved[falling] + 1e-300))
            now = now + step * (solved - now)
            weights = np.zeros(_TERMS)
            weights[chosen] = np.maximum(now, 0)
            chosen = [term for term in chosen if weights[term] > _TINY]
    return weights / scale
