# SPDX-License-Identifier: Apache-2.0
"""Frames that are not for this calculator, told with what was expected and got."""

import msgspec

from services.calculator.loop import CalculatorStage
from services.calculator.settings import CalculatorSettings

from .paper import Paper
from .runtime import runtime_of


def test_a_frame_of_another_node_is_told(tmp_path):
    """It is counted, with the field that is wrong."""
    paper, counted = Paper(counts=False), []
    runtime = runtime_of(paper, tmp_path / "ledger", count=lambda _event, cause: counted.append(cause))
    stage = CalculatorStage(CalculatorSettings(), runtime)
    stage.on_frame(msgspec.structs.replace(paper.activity(), node="other"))
    stage.close()
    assert counted == ["activity: expected node 'paper', got 'other'"]
