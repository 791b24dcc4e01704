# SPDX-License-Identifier: Apache-2.0
"""Whether a stage works, from headers alone."""

import pytest

from wattline.health import State, verdict
from wattline.wire.last import Heartbeat

S = 1_000_000_000
NOW_NS = 1000 * S


def beat(*, age_s=0.5, still_s=0.5, failed_turns=0, interval_s=1):
    return Heartbeat(
        mono_ns=round(NOW_NS - age_s * S),
        interval_ns=interval_s * S,
        useful_mono_ns=round(NOW_NS - still_s * S),
        failed_turns=failed_turns,
    )


def found(stage, **headers):
    """The verdict where all stages work but those given here."""
    all_well = dict.fromkeys(("probe", "power", "metadata", "calculator", "exporter"), beat())
    return verdict(stage, (all_well | headers).get, NOW_NS)


def test_a_stage_whose_content_advances_works():
    """Young frames, young content; turns that failed since make no fault as long as content advances."""
    assert found("calculator").state is State.WORKING
    assert found("metadata", metadata=beat(failed_turns=2)).state is State.WORKING


@pytest.mark.parametrize(
    ("stage", "header", "state", "words"),
    [
        ("metadata", beat(still_s=30, failed_turns=30), State.FAILING, "30 turns have failed"),
        ("metadata", beat(still_s=30), State.STUCK, "although it gets what it needs"),
        ("metadata", beat(age_s=30, still_s=30), State.SILENT, "last frame of metadata is 30.0 s old"),
        ("metadata", beat(age_s=-2), State.SILENT, "last frame of metadata"),
        ("metadata", None, State.MISSING, "metadata has published nothing yet"),
        ("probe", beat(still_s=30), State.STUCK, "content of probe has not advanced for 30.0 s"),
    ],
)
def test_a_fault_is_named(stage, header, state, words):
    """Each kind of fault has its state, names the stage, and is no 'up'."""
    verdict_now = found(stage, **{stage: header})
    assert (verdict_now.state, verdict_now.stage, verdict_now.is_up) == (state, stage, False)
    assert words in verdict_now.text


def test_a_stage_that_waits_names_the_one_at_fault():
    """What stands still for lack of input has no fault of its own; the first stage of the chain has."""
    still = beat(still_s=30)
    probe = beat(age_s=30, still_s=30)
    for stage in ("power", "metadata", "calculator", "exporter"):
        others = dict.fromkeys(("power", "metadata", "calculator", "exporter"), still)
        verdict_now = found(stage, probe=probe, **others)
        assert (verdict_now.state, verdict_now.stage, verdict_now.is_up) == (State.WAITING, "probe", True)


def test_a_slow_input_makes_nobody_late():
    """A meter that is read once a minute: the calculator's content may stand still for as long."""
    power = beat(age_s=50, still_s=110, interval_s=60)
    assert found("calculator", power=power, calculator=beat(still_s=110)).state is State.WORKING
    assert found("calculator", power=power, calculator=beat(still_s=190)).state is State.STUCK


def test_a_stage_that_does_not_report_its_content_is_judged_by_its_frames():
    """Stages of older versions and in other languages may leave the field out: 0."""
    old = Heartbeat(NOW_NS - S, S)
    assert found("power", power=old).state is State.WORKING
    assert found("power", power=Heartbeat(NOW_NS - 6 * S, S)).state is State.SILENT
