# SPDX-License-Identifier: Apache-2.0
"""The example of docs/meters.md, taken from the page and run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.power import book, channel, loop, sources
from services.power.loop import PowerStage
from services.power.opening import needs_of_one
from services.power.settings import PowerSettings
from wattline.wire.codec import decode, encode

from . import extra_source
from .world import Clock, FakeRuntime, rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/meters.md"
J = W = 1_000_000
LINES_MAX = 45


@pytest.fixture
def example(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    body = text.partition("<!-- example -->\n")[2].partition("<!-- end of example -->")[0]
    path = tmp_path / "acme.py"
    path.write_text(re.fullmatch(r"```python\n(.*)```\n", body, re.DOTALL)[1], encoding="utf-8")
    return path


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (book, channel, loop):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_example_runs(example, clock, tmp_path, monkeypatch):
    """Its three kinds of channels give their energy, over a restart, through the real stage and codec."""
    monkeypatch.setattr(sources, "SOURCES", sources.SOURCES)
    assert extra_source.add(example) == "acme"
    board = tmp_path / "sys/class/acme/board0"
    board.mkdir(parents=True)

    def show(energy_uj, total_uj, power_uw):
        figures = {"energy_uj": energy_uj, "total_uj": total_uj, "power_uw": power_uw}
        for name, figure in figures.items():
            (board / name).write_text(f"{figure}\n", encoding="ascii")

    show(2**32 - 10 * J, 500 * J, 100 * W)
    settings = PowerSettings(path_sysfs=tmp_path / "sys", power_sources="+acme")
    runtime = FakeRuntime()
    stage = PowerStage(settings, runtime)
    clock.advance(1)
    show(30 * J, 520 * J, 300 * W)  # the first one has wrapped
    stage.on_tick(clock.now_ns)
    stage.close()
    runtime = runtime.restarted()
    stage = PowerStage(settings, runtime)
    clock.advance(1)
    show(50 * J, 530 * J, 300 * W)
    stage.on_tick(clock.now_ns)
    stage.close()
    frame = decode(encode(runtime.frames[-1]))
    found = {(zone, row["source"]): row["energy_uj"] for (zone, _index), row in rows(frame).items()}
    assert found == {("package", "acme"): 60 * J, ("dram", "acme"): 30 * J, ("platform", "acme"): 500 * J}
    assert set(frame.zones.gaps) == {0}
    assert frame.sources[0].up
    assert needs_of_one(sources.SOURCES[0], settings).capabilities == ("CAP_DAC_READ_SEARCH",)


def test_the_example_says_why_there_is_nothing(example, clock, tmp_path, monkeypatch):
    """On a machine without the board it is not up, with the cure, as it was asked for by name."""
    monkeypatch.setattr(sources, "SOURCES", sources.SOURCES)
    extra_source.add(example)
    runtime = FakeRuntime()
    stage = PowerStage(PowerSettings(path_sysfs=tmp_path, power_sources="acme"), runtime)
    stage.on_tick(clock.now_ns)
    (state,) = runtime.frames[-1].sources
    assert (state.up, state.reason) == (
        False,
        f"no Acme board in {tmp_path}/class/acme: is the module acme loaded?",
    )


def test_the_example_is_short_and_clean(example):
    """Some forty lines, and nothing that the linter would object to."""
    code = [line for line in example.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) <= LINES_MAX
    config = ["--config", str(ROOT / "pyproject.toml"), "--ignore", "INP001,ARG001"]
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", *config, str(example)]
    result = subprocess.run(ruff, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
