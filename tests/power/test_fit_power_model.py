# SPDX-License-Identifier: Apache-2.0
"""The script that fits the power model: right coefficients, honest errors, the same file every time."""

import csv
import json
import math
import random

import pytest

from scripts.fit_power_model import (
    CONCAVE,
    LINEAR,
    OUTPUT,
    RISING,
    Errors,
    choose,
    fit,
    folds,
    main,
    read_samples,
)
from services.power.power_model import decode

PERIOD_S, BLOCK = 3, 73
KNOTS = (0.0, 0.15, 1.0)
# W at the knots, by zone
TRUTH = {"package": (30.0, 90.0, 150.0), "dram": (40.0, 50.0, 58.0), "platform": (170.0, 240.0, 320.0)}
COLUMNS = {"package": "package_power", "dram": "dram_power", "platform": "platform_power"}


def polygon(powers_w, utilisation):
    idle_w, bend_w, full_w = powers_w
    if utilisation <= KNOTS[1]:
        return idle_w + (bend_w - idle_w) * utilisation / KNOTS[1]
    return bend_w + (full_w - bend_w) * (utilisation - KNOTS[1]) / (1 - KNOTS[1])


def write_csv(path, utilisations, power_of, missing_blocks=()):
    """Samples of a machine with 32 CPUs; `power_of` (zone, utilisation, index) gives W."""
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "bpf_cpu_time_us", "cpu_cycles", *COLUMNS.values()])
        for index, utilisation in enumerate(utilisations):
            if index // BLOCK not in missing_blocks:
                powers = [power_of(zone, utilisation, index) for zone in COLUMNS]
                writer.writerow([1_600_000_000 + PERIOD_S * index, utilisation * 32_000, 1, *powers])
    return path


def spread(samples, seed=1):
    chosen = random.Random(seed)
    return [chosen.random() for _sample in range(samples)]


def test_known_coefficients_come_out(tmp_path):
    """Samples made from a polygon give that polygon back, with no error on unseen blocks."""
    path = write_csv(tmp_path / "train.csv", spread(BLOCK * 9), lambda zone, u, _: polygon(TRUTH[zone], u))
    output = tmp_path / "model.json"
    main([str(tmp_path), "--output", str(output)])
    model = json.loads(output.read_text(encoding="utf-8"))
    assert path.exists()
    for zone, powers_w in TRUTH.items():
        expected = [
            [round(at * 1e6), pytest.approx(w * 1e6, abs=10)] for at, w in zip(KNOTS, powers_w, strict=True)
        ]
        assert model["zones"][zone]["knots"] == expected
        assert model["zones"][zone]["held_out"]["mean_absolute_error_w"] == 0
    assert decode(output.read_bytes()).machine.cpu_count == 32


def test_a_straight_line_is_left_straight(tmp_path):
    """The simplest form is taken where a richer one is no better."""
    path = write_csv(tmp_path / "a.csv", spread(BLOCK * 9), lambda zone, u, _: TRUTH[zone][0] + 50 * u)
    main([str(path), "--output", str(tmp_path / "model.json")])
    model = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert model["fit"]["form"] == "linear"
    assert {len(zone["knots"]) for zone in model["zones"].values()} == {2}


def errors(*fold_ratios):
    return Errors(
        mean_absolute_error_w=1.0,
        mean_absolute_ratio=sum(fold_ratios) / len(fold_ratios),
        mean_error_w=0.0,
        worst_fold_mean_absolute_error_w=1.0,
        fold_ratios=list(fold_ratios),
    )


@pytest.mark.parametrize(("simple", "expected"), [(0.24, LINEAR), (0.30, CONCAVE)])
def test_the_simplest_form_that_the_folds_cant_tell_from_the_best_is_chosen(simple, expected):
    """Within one standard error of the best (here 0.2 ± 0.05) the simpler one is taken, beyond it that."""
    candidates = [
        (LINEAR, (0.0, 1.0), {"package": errors(simple, simple, simple)}),
        (CONCAVE, (0.0, 0.2, 1.0), {"package": errors(0.1134, 0.2, 0.2866)}),
    ]
    assert choose(candidates)[0] == expected


def test_held_out_are_whole_blocks_with_their_holes(tmp_path):
    """No block is split between what is fitted and what is predicted, and missing blocks shift none."""
    missing = {7, 8, 9}
    path = write_csv(tmp_path / "a.csv", spread(BLOCK * 14), lambda *_: 1.0, missing)
    samples = read_samples(path)
    assert sorted(set(samples.block)) == [block for block in range(14) if block not in missing]
    assert {samples.block.count(block) for block in samples.block} == {BLOCK}
    held_out = folds(samples.block)
    assert sorted(index for fold in held_out for index in fold) == list(range(len(samples.block)))
    blocks = [{samples.block[index] for index in fold} for fold in held_out]
    assert blocks == [{0, 1, 2}, {3, 4, 5}, {6, 10, 11}, {12, 13}]
    assert all(not (one & other) for one in blocks for other in blocks if one is not other)


def test_errors_are_of_blocks_not_seen(tmp_path):
    """Where every run of blocks has a power of its own, nothing seen tells it, and the errors admit it."""
    offsets_w = [0, 30, 60, 90]

    def power_of(zone, _utilisation, index):
        return TRUTH[zone][2] + offsets_w[index // (BLOCK * 3)]

    path = write_csv(tmp_path / "a.csv", spread(BLOCK * 12), power_of)
    main([str(path), "--output", str(tmp_path / "model.json")])
    held_out = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["zones"]["package"][
        "held_out"
    ]
    # Of four powers 30 W apart, each is predicted by the mean of the others: 60, 20, 20, 60 W off
    assert held_out["mean_absolute_error_w"] == pytest.approx(40, abs=2)
    assert held_out["worst_fold_mean_absolute_error_w"] == pytest.approx(60, abs=3)


@pytest.mark.parametrize("form", [LINEAR, CONCAVE, RISING])
@pytest.mark.parametrize("seed", range(5))
def test_no_form_ever_falls(form, seed):
    """Whatever the samples say, even that power falls with use."""
    utilisation = spread(200, seed)
    power_w = [100 - 60 * u + 20 * math.sin(9 * u) for u in utilisation]
    knots = (0.0, 1.0) if form == LINEAR else (0.0, 0.1, 0.25, 0.5, 1.0)
    fitted_w = fit(form, knots, utilisation, power_w)
    assert fitted_w == sorted(fitted_w)


def test_a_fit_without_limits_in_the_way_is_least_squares():
    """Among all lines it finds the one that a direct solution finds."""
    utilisation = spread(50, 3)
    power_w = [40 + 30 * u + noise for u, noise in zip(utilisation, spread(50, 4), strict=True)]
    mean_u, mean_w = sum(utilisation) / 50, sum(power_w) / 50
    slope = sum((u - mean_u) * (w - mean_w) for u, w in zip(utilisation, power_w, strict=True)) / sum(
        (u - mean_u) ** 2 for u in utilisation
    )
    intercept = mean_w - slope * mean_u
    assert fit(LINEAR, (0.0, 1.0), utilisation, power_w) == pytest.approx([intercept, intercept + slope])


def test_the_same_data_gives_the_same_bytes(tmp_path):
    """The file that is kept can be made again."""
    path = write_csv(
        tmp_path / "a.csv", spread(BLOCK * 9), lambda zone, u, _: polygon(TRUTH[zone], u) + u * u
    )
    for name in ("one.json", "two.json"):
        main([str(path), "--output", str(tmp_path / name)])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    ("utilisations", "complaint"), [([0.5, 1.01], "beyond 32 CPUs"), ([0.5, -0.1], "beyond 32 CPUs")]
)
def test_more_cpu_time_than_cpus_is_refused(tmp_path, utilisations, complaint):
    """The assumed number of CPUs must fit the data."""
    path = write_csv(tmp_path / "a.csv", utilisations, lambda *_: 1.0)
    with pytest.raises(ValueError, match=complaint):
        read_samples(path)


def test_a_missing_column_is_named(tmp_path):
    """Other data is not guessed at."""
    (tmp_path / "a.csv").write_text("timestamp,package_power\n1,2\n2,3\n", encoding="ascii")
    with pytest.raises(ValueError, match="expected the columns bpf_cpu_time_us, dram_power, platform_power"):
        read_samples(tmp_path / "a.csv")


def test_the_shipped_file_is_the_scripts():
    """What is kept was written by this script: its own layout, byte for byte."""
    text = OUTPUT.read_text(encoding="utf-8")
    assert json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n" == text
    assert json.loads(text)["fit"]["made_by"] == "scripts/fit_power_model.py"
