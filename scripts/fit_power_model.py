# SPDX-License-Identifier: Apache-2.0
"""Fits services/power/models/nx12.json: node power as a function of CPU utilisation.

    python scripts/fit_power_model.py DATA [--output FILE]

DATA is a directory with train.csv, or such a file: samples of one machine at a constant period, with CPU time
and the power that its meters read. The same DATA gives the same file, byte for byte.

How: a zone's power is a polygon over utilisation that never falls. Several forms of it are fitted by least
squares (an energy is a mean, so the mean is what must be right), each with whole runs of blocks of
neighbouring samples held out in turn: samples next to each other are nearly equal, so shuffled rows would
have the fit seen its own test. The simplest form whose error on unseen blocks is not above the least by more
than that one's standard error is then fitted to all.
"""

import argparse
import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path

OUTPUT = Path(__file__).parent.parent / "services" / "power" / "models" / "nx12.json"

TIME = "timestamp"
FEATURE = "bpf_cpu_time_us"
TARGETS = {"package": "package_power", "dram": "dram_power", "platform": "platform_power"}
FEATURE_PER_CPU = 1000  # the column's name says µs; its values are CPU milliseconds per second

# Not given with the data. The most CPU time in it is 29.17 CPU seconds a second; 32 is the least number of
# hardware threads in common use above that.
CPU_COUNT = 32

BLOCK_SAMPLES = 73  # the data keeps whole blocks of so many samples, and so must what is held out
FOLD_BLOCKS = 3  # neighbouring blocks held out together: also the size of the holes in the data

LINEAR, CONCAVE, RISING = "linear", "concave", "rising"
FORMS: tuple[tuple[str, tuple[float, ...]], ...] = (  # the simplest first
    (LINEAR, (0.0, 1.0)),
    (CONCAVE, (0.0, 0.15, 1.0)),
    (CONCAVE, (0.0, 0.1, 0.25, 0.5, 1.0)),
    (RISING, (0.0, 0.1, 0.25, 0.5, 1.0)),
)
_PIVOT_MIN = 1e-9  # of the largest; below it a set of slopes says the same thing twice

Row = Sequence[float]


@dataclass(frozen=True)
class Samples:
    """Columns of equal length, in time order. `block` counts blocks of time, holes included."""

    time_s: list[int]
    utilisation: list[float]
    power_w: dict[str, list[float]]
    block: list[int]
    sha256: str


@dataclass(frozen=True)
class Errors:
    """Of predictions against what was measured, on samples the fit had not seen."""

    mean_absolute_error_w: float
    mean_absolute_ratio: float
    mean_error_w: float
    worst_fold_mean_absolute_error_w: float
    fold_ratios: list[float]  # mean_absolute_ratio of each fold


def read_samples(path: Path) -> Samples:
    """Raises ValueError if a column is missing, time does not rise, or there are more CPUs than assumed."""
    data = path.read_bytes()
    rows = list(csv.DictReader(data.decode("ascii").splitlines()))
    missing = {TIME, FEATURE, *TARGETS.values()} - set(rows[0] if rows else ())
    if missing:
        raise ValueError(f"{path}: expected the columns {', '.join(sorted(missing))} as well")
    time_s = [int(row[TIME]) for row in rows]
    steps = Counter(later - earlier for earlier, later in pairwise(time_s))
    if min(steps) <= 0:
        raise ValueError(f"{path}: expected rising times in {TIME}")
    block_s = steps.most_common(1)[0][0] * BLOCK_SAMPLES
    utilisation = [float(row[FEATURE]) / (FEATURE_PER_CPU * CPU_COUNT) for row in rows]
    if not 0 <= min(utilisation) <= max(utilisation) <= 1:
        raise ValueError(f"{path}: {FEATURE} beyond {CPU_COUNT} CPUs: expected at most that many")
    return Samples(
        time_s=time_s,
        utilisation=utilisation,
        power_w={zone: [float(row[column]) for row in rows] for zone, column in TARGETS.items()},
        block=[(at_s - time_s[0]) // block_s for at_s in time_s],
        sha256=sha256(data).hexdigest(),
    )


def folds(block: Sequence[int]) -> list[list[int]]:
    """Indices of samples to hold out together: each time a run of whole neighbouring blocks."""
    rank = {number: order for order, number in enumerate(sorted(set(block)))}
    found: dict[int, list[int]] = {}
    for index, number in enumerate(block):
        found.setdefault(rank[number] // FOLD_BLOCKS, []).append(index)
    return [found[fold] for fold in sorted(found)]


def basis(form: str, knots: Sequence[float]) -> Callable[[float], list[float]]:
    """Functions of utilisation whose sum, with a constant and weights of at least 0, is such a polygon."""
    if form == RISING:  # one ramp per stretch between knots: each may only rise
        return lambda u: [
            1.0,
            *(min(max(u - left, 0) / (right - left), 1) for left, right in pairwise(knots)),
        ]
    return lambda u: [1.0, *(min(u, knot) for knot in knots[1:])]  # each only flattens, at its knot


def fit(
    form: str, knots: Sequence[float], utilisation: Sequence[float], power_w: Sequence[float]
) -> list[float]:
    """Power in W at each knot, by least squares among all polygons of that form."""
    shape = basis(form, knots)
    rows = [shape(u) for u in utilisation]
    columns = list(zip(*rows, strict=True))
    gram = [[math.fsum(map(_product, zip(a, b, strict=True))) for b in columns] for a in columns]
    moment = [math.fsum(map(_product, zip(column, power_w, strict=True))) for column in columns]
    weights = _least_squares(gram, moment)
    return [_dot(weights, shape(knot)) for knot in knots]


def _product(pair: tuple[float, float]) -> float:
    return pair[0] * pair[1]


def _dot(a: Row, b: Row) -> float:
    return math.fsum(map(_product, zip(a, b, strict=True)))


def _least_squares(gram: Sequence[Row], moment: Row) -> list[float]:
    """Weights, none but the first below 0. There are few: every set of them is tried with the rest at 0."""
    best: list[float] = []
    least = math.inf
    others = range(1, len(moment))
    for size in range(len(moment)):
        for chosen in combinations(others, size):
            used = (0, *chosen)
            solved = _solve([[gram[i][j] for j in used] for i in used], [moment[i] for i in used])
            if solved is None or min(solved[1:], default=0) < 0:
                continue
            weights = [0.0] * len(moment)
            for index, weight in zip(used, solved, strict=True):
                weights[index] = weight
            # The squared error but for a constant
            error = _dot(weights, [_dot(row, weights) for row in gram]) - 2 * _dot(weights, moment)
            if error < least:
                best, least = weights, error
    return best


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Gauss's elimination with pivots; None if the matrix is singular."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        if abs(rows[pivot][column]) <= _PIVOT_MIN * matrix[0][0]:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[index][size] / rows[index][index] for index in range(size)]


def predict(knots: Sequence[float], power_w: Row, utilisation: float) -> float:
    """The polygon's power."""
    for (left, left_w), (right, right_w) in pairwise(zip(knots, power_w, strict=True)):
        if utilisation <= right:
            return left_w + (right_w - left_w) * (utilisation - left) / (right - left)
    return power_w[-1]


def held_out_errors(samples: Samples, zone: str, form: str, knots: Sequence[float]) -> Errors:
    """Each fold predicted by a fit that saw only the others."""
    measured_w = samples.power_w[zone]
    errors_w: list[float] = []
    ratios: list[float] = []
    fold_errors_w: list[float] = []
    fold_ratios: list[float] = []
    for held_out in folds(samples.block):
        hidden = set(held_out)
        seen = [index for index in range(len(measured_w)) if index not in hidden]
        fitted_w = fit(form, knots, [samples.utilisation[i] for i in seen], [measured_w[i] for i in seen])
        of_fold_w = [predict(knots, fitted_w, samples.utilisation[i]) - measured_w[i] for i in held_out]
        errors_w += of_fold_w
        of_fold = [abs(error) / measured_w[i] for error, i in zip(of_fold_w, held_out, strict=True)]
        ratios += of_fold
        fold_ratios.append(round(_mean(of_fold), 4))
        fold_errors_w.append(_mean([abs(error) for error in of_fold_w]))
    return Errors(
        mean_absolute_error_w=round(_mean([abs(error) for error in errors_w]), 3),
        mean_absolute_ratio=round(_mean(ratios), 4),
        mean_error_w=round(_mean(errors_w), 3),
        worst_fold_mean_absolute_error_w=round(max(fold_errors_w), 3),
        fold_ratios=fold_ratios,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


Candidate = tuple[str, tuple[float, ...], dict[str, Errors]]


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The simplest form that is as good as the best, as far as the folds can tell.

    The zones' errors have different sizes, so what is added up over the zones are ratios.
    """
    by_fold = [
        list(map(math.fsum, zip(*(error.fold_ratios for error in errors.values()), strict=True)))
        for _form, _knots, errors in candidates
    ]
    best = min(by_fold, key=_mean)
    spread = math.sqrt(math.fsum((value - _mean(best)) ** 2 for value in best) / max(len(best) - 1, 1))
    limit = _mean(best) + spread / math.sqrt(len(best))
    return next(
        candidate for candidate, ratios in zip(candidates, by_fold, strict=True) if _mean(ratios) <= limit
    )


def build(samples: Samples) -> dict[str, object]:
    """The model file's content."""
    candidates = [
        (form, knots, {zone: held_out_errors(samples, zone, form, knots) for zone in TARGETS})
        for form, knots in FORMS
    ]
    form, knots, errors = choose(candidates)
    return {
        "license": "Apache-2.0",
        "model": "nx12",
        "about": "Power of a whole machine by its CPU utilisation, for machines without a meter.",
        "machine": {
            "name": "nx12",
            "what": "one server, bare metal, under stress workloads, September 2023",
            "cpu_count": CPU_COUNT,
            "cpu_count_is": (
                "assumed: the data does not tell; the least number of hardware threads in common use above "
                f"the most CPU time in it, {max(samples.utilisation) * CPU_COUNT:.2f} CPU seconds per second"
            ),
        },
        "data": {
            "origin": (
                "github.com/sustainable-computing-io/kepler-model-db, models/v0.6/nx12/preprocessed_data, "
                "columns joined by timestamp, seven of every ten blocks of 73 samples"
            ),
            "sha256": samples.sha256,
            "samples": len(samples.time_s),
            "blocks": len(set(samples.block)),
            "first_unix_s": samples.time_s[0],
            "last_unix_s": samples.time_s[-1],
            "feature": {
                "column": FEATURE,
                "unit": "CPU milliseconds per second (its name says µs)",
                "utilisation": f"column / ({FEATURE_PER_CPU} * cpu_count)",
                "range_ppm": [round(f(samples.utilisation) * 1e6) for f in (min, max)],
            },
            "targets": TARGETS,
            "meters": "package, dram: RAPL, all sockets; platform: ACPI power meter, coarse and slow",
        },
        "fit": {
            "made_by": "scripts/fit_power_model.py",
            "method": (
                "least squares over polygons of one form; the simplest form whose error on unseen blocks is "
                "within one standard error of the least"
            ),
            "held_out": (
                f"in turn, {FOLD_BLOCKS} neighbouring blocks of {BLOCK_SAMPLES} samples at a time, never "
                "single rows; the errors are of those predictions, the knots of a fit to all"
            ),
            "form": form,
            "forms_tried": [
                {
                    "form": tried,
                    "knots": list(at),
                    "mean_absolute_error_w": {
                        zone: error.mean_absolute_error_w for zone, error in of.items()
                    },
                    "mean_absolute_ratio": {zone: error.mean_absolute_ratio for zone, error in of.items()},
                }
                for tried, at, of in candidates
            ],
        },
        "limits": [
            "CPU time alone can't tell what the CPU does: fully busy, the package read from 74 to 200 W.",
            "One machine of one make; another one's share by number of CPUs is a guess, its error not known.",
        ],
        "zones": {
            zone: {
                "knots_are": "[utilisation in ppm, power of the whole machine in µW]",
                "knots": _knots(knots, fit(form, knots, samples.utilisation, samples.power_w[zone])),
                "held_out": vars(errors[zone]),
            }
            for zone in TARGETS
        },
    }


def _knots(knots: Sequence[float], power_w: Row) -> list[list[int]]:
    return [[round(at * 1e6), round(power * 1e6)] for at, power in zip(knots, power_w, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="directory with train.csv, or such a file")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT}")
    given = parser.parse_args(arguments)
    path = given.data / "train.csv" if given.data.is_dir() else given.data
    model = build(read_samples(path))
    given.output.write_text(json.dumps(model, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
