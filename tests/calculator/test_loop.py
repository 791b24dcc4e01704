# SPDX-License-Identifier: Apache-2.0
"""Frames that are not for this calculator, told with what was expected and got."""

from types import SimpleNamespace

import msgspec
import pytest

from services.calculator.loop import CalculatorStage
from services.calculator.settings import CalculatorSettings

from .paper import Paper
from .world import S


def test_a_frame_of_another_node_is_told(tmp_path):
    """It is counted, with the field that is wrong."""
    paper, counted = Paper(counts=False), []
    runtime = SimpleNamespace(
        directory=SimpleNamespace(ledger=tmp_path / "ledger"),
        node="paper",
        boot_id="boot",
        interval_ns=S,
        now_ns=lambda: paper.now_ns,
        log=SimpleNamespace(info=lambda *_a, **_k: None, error=pytest.fail),
        count=lambda _event, cause: counted.append(cause),
        publish=lambda *_a, **_k: None,
    )
    stage = CalculatorStage(CalculatorSettings(), runtime)
    stage.on_frame(msgspec.structs.replace(paper.activity(), node="other"))
    stage.close()
    assert counted == ["activity: expected node 'paper', got 'other'"]
