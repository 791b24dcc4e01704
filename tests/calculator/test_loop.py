# SPDX-License-Identifier: Apache-2.0
"""Frames that are not for this calculator, told with what was expected and got; commits before shows."""

import msgspec

from services.calculator.loop import CalculatorStage
from services.calculator.reported_names import PodName
from services.calculator.settings import CalculatorSettings

from .paper import ROOT, Paper
from .runtime import runtime_of
from .world import S


def test_a_frame_of_another_node_is_told(tmp_path):
    """It is counted, with the field that is wrong."""
    paper, counted = Paper(counts=False), []
    runtime = runtime_of(paper, tmp_path / "ledger", count=lambda _event, cause: counted.append(cause))
    stage = CalculatorStage(CalculatorSettings(), runtime)
    stage.on_frame(msgspec.structs.replace(paper.activity(), node="other"))
    stage.close()
    assert counted == ["activity: expected node 'paper', got 'other'"]


def test_names_are_in_the_ledger_before_they_are_shown(tmp_path):
    """A calculator that dies while it publishes is followed by one that shows the same names."""
    paper, shown = Paper(counts=False), []
    paper.born(10, ROOT, "a" * 64, "pod-1")
    paper.meter("package", "0", 20, per_cpu_s=8)
    paper.called, paper.pods = {"a" * 64: "web"}, {"pod-1": PodName("web-1", "shop")}

    def start(publish):
        runtime = runtime_of(paper, tmp_path / "ledger", publish=publish)
        return CalculatorStage(CalculatorSettings(), runtime)

    def die(_kind, **_fields):
        raise KeyboardInterrupt

    stage = start(die)
    for _second in range(2):
        paper.run(S, {((10, 100, 7), 0): (0.5, 1, 1, 0)})
        stage.on_frame(paper.metadata())
        stage.on_frame(paper.activity())
        try:
            stage.on_frame(paper.power())
        except KeyboardInterrupt:
            break
    paper.called, paper.pods = {"a" * 64: "renamed"}, {"pod-1": PodName("renamed", "shop")}
    paper.now_ns += 2 * S
    stage = start(lambda _kind, **fields: shown.append(fields))
    stage.on_frame(paper.metadata())
    stage.on_tick(paper.now_ns)
    stage.close()
    assert set(shown[-1]["containers"].container_name) == {"web"}
    assert shown[-1]["pods"].pod_name == ["web-1"]
