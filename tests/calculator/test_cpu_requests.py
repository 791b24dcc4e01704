# SPDX-License-Identifier: Apache-2.0
"""The idle policy `requests` needs a metadata stage that reports CPU requests."""

import msgspec
import pytest

from services.calculator.loop import CalculatorStage
from services.calculator.settings import CalculatorSettings
from wattline.errors import Fatal
from wattline.wire.columns import U32

from .paper import ROOT, Paper
from .runtime import runtime_of


@pytest.fixture
def paper():
    paper = Paper(counts=False)
    paper.born(10, ROOT, "a" * 64)
    paper.meter("package", "0", 20, per_cpu_s=8)
    return paper


@pytest.fixture
def start(tmp_path, paper):
    """Starts a calculator with an idle policy."""
    stages = []

    def start(policy):
        runtime = runtime_of(paper, tmp_path / "ledger")
        stages.append(CalculatorStage(CalculatorSettings(idle_policy=policy), runtime))
        return stages[-1]

    yield start
    for stage in stages:
        stage.close()


def without_requests(metadata):
    """The frame as a stage publishes it that knows nothing of requests."""
    cgroups = msgspec.structs.replace(metadata.cgroups, cpu_request_m=U32())
    return msgspec.structs.replace(metadata, cgroups=cgroups)


def test_without_requests_the_policy_ends_the_calculator(start, paper):
    """Exit code 78, and one line: what, expected, got, cure."""
    with pytest.raises(Fatal) as caught:
        start("requests").on_frame(without_requests(paper.metadata()))
    assert caught.value.exit_code == Fatal.SETTINGS
    for words in (
        "idle-policy",
        "expected a metadata stage that reports CPU requests",
        "got none",
        "node, even",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("policy", ["node", "even", "usage"])
def test_other_policies_need_none(start, paper, policy):
    """Requests are no business of theirs."""
    start(policy).on_frame(without_requests(paper.metadata()))


def test_requests_of_zero_are_known(start, paper):
    """A stage that knows requests may well report none for every container."""
    start("requests").on_frame(paper.metadata())


def test_a_frame_without_cgroups_decides_nothing(start, paper):
    """A metadata stage that has met no activity yet has no rows: the next frame tells."""
    stage = start("requests")
    metadata = without_requests(paper.metadata())
    empty = msgspec.structs.replace(
        metadata,
        cgroups=type(metadata.cgroups)(
            cgroup_id=type(metadata.cgroups.cgroup_id)(), path=[], container_id=[], runtime=[], pod_uid=[]
        ),
    )
    stage.on_frame(empty)
    with pytest.raises(Fatal):
        stage.on_frame(without_requests(paper.metadata()))


def test_only_the_first_frame_decides(start, paper):
    """Another metadata stage that takes over later costs the calculator nothing."""
    stage = start("requests")
    stage.on_frame(paper.metadata())
    stage.on_frame(without_requests(paper.metadata()))
