# SPDX-License-Identifier: Apache-2.0
"""A stage that was taken over says one wrong thing, then the true one comes back: nothing of it stays."""

import re
import time

import msgpack
import msgspec
import pytest

from wattline.wire.bus import read_last
from wattline.wire.codec import encode
from wattline.wire.columns import U32, U64
from wattline.wire.rundir import ServiceDirectory

from .ever_rising import Scrapes
from .foreign_stage import ForeignStage
from .pipeline import Pipeline

S = 1_000_000_000


def changed(frame, **fields):
    return msgspec.structs.replace(frame, **fields)


def later(frame, by_ns, **fields):
    """The frame as its stage might have sent it a little later."""
    return changed(frame, mono_ns=frame.mono_ns + by_ns, **fields)


def zones(power, by_ns=0, more_uj=0):
    table = power.zones
    return changed(
        table,
        mono_ns=U64(ns + by_ns for ns in table.mono_ns),
        energy_uj=U64(uj + more_uj for uj in table.energy_uj),
    )


def many_zones(power, count):
    """The frame's bytes with one zone repeated; our own types refuse to make more than 256."""
    frame = msgpack.unpackb(encode(later(power, S // 10)))
    for name, column in frame["zones"].items():
        if column[0] in ("u32", "u64"):
            frame["zones"][name] = [column[0], bytes(column[1][: int(column[0][1:]) // 8]) * count]
        else:
            frame["zones"][name] = [f"{name} {row}" for row in range(count)]
    return msgpack.packb(frame)


def odd_socket(activity):
    rows = len(activity.cgroups)
    return changed(activity.cgroups, socket=U32([2**32 - 1, *[0] * (rows - 1)]))


# Case: (who is taken over, the topic, the frame from those that were last, how it is counted).
ATTACKS = {
    "power_epoch": ("power", "power", lambda last: changed(last["power"], epoch=2**62), "wrong_time"),
    "power_epoch_just_now": (
        "power",
        "power",
        lambda last: later(
            last["power"], S // 4, epoch=last["power"].mono_ns + S // 8, zones=zones(last["power"], S // 4)
        ),
        "older_epoch",
    ),
    "power_unix_time": (
        "power",
        "power",
        lambda last: changed(last["power"], epoch=time.time_ns()),
        "wrong_time",
    ),
    "power_future": ("power", "power", lambda last: later(last["power"], 10**15), "wrong_time"),
    "power_energy": (
        "power",
        "power",
        lambda last: later(last["power"], S // 10, zones=zones(last["power"], S // 10, 10**13)),
        "energy_fell",
    ),
    "power_of_another_boot": (
        "power",
        "power",
        lambda last: changed(last["power"], boot_id="x"),
        "other_boot",
    ),
    "zones": (
        "power",
        "power",
        lambda last: many_zones(last["power"], 257),
        "invalid",
    ),
    "activity_future": ("probe", "activity", lambda last: later(last["probe"], 10**15), "wrong_time"),
    "activity_epoch_just_now": (
        "probe",
        "activity",
        lambda last: later(last["probe"], S // 4, epoch=last["probe"].mono_ns + S // 8),
        "older_epoch",
    ),
    "odd_socket": (
        "probe",
        "activity",
        lambda last: later(last["probe"], S // 10, cgroups=odd_socket(last["probe"])),
        "odd_rows",
    ),
    "metadata_future": ("metadata", "metadata", lambda last: later(last["metadata"], 10**15), "wrong_time"),
    "power_by_metadata": ("metadata", "power", lambda last: later(last["power"], S // 10), "forged"),
    "energy_by_metadata": (
        "metadata",
        "energy",
        lambda last: changed(last["calculator"], mono_ns=2**63),
        "forged",
    ),
    "energy_future": ("calculator", "energy", lambda last: later(last["calculator"], 10**15), "wrong_time"),
    "energy_that_does_not_close": (
        "calculator",
        "energy",
        lambda last: later(
            last["calculator"],
            S // 10,
            zones=changed(
                last["calculator"].zones,
                measured_uj=U64(uj + 1 for uj in last["calculator"].zones.measured_uj),
            ),
        ),
        "wrong_sum",
    ),
}


class Watched:
    """A pipeline, looked at from outside."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.log = ""  # for Scrapes: where the exporter listens
        self.scrapes = Scrapes(self)

    def counted(self, event):
        """How often something was refused or went wrong, by stage."""
        return {
            one.labels["stage"]: one.value
            for one in self.pipeline.scrape()
            if one.name in ("wattline_stage_frames_refused_total", "wattline_stage_errors_total")
            and event in (one.labels.get("reason"), one.labels.get("event"))
        }

    def has_counted(self, event, before):
        """The stages that count more than before; one that was restarted has begun again."""
        return [stage for stage, count in self.counted(event).items() if count > before.get(stage, 0)]

    def goes_on(self):
        """Every zone that power reports advances, and the pipeline says that it is ready."""
        run, begun_ns = self.pipeline.run, time.monotonic_ns()

        def has_advanced():
            energy = read_last(ServiceDirectory(run, "calculator"))
            if energy is None:
                return False
            marks = [
                mark
                for mark, listed in zip(energy.zones.watermark_mono_ns, energy.zones.is_listed, strict=True)
                if listed
            ]
            return bool(marks) and min(marks) > begun_ns + S

        self.pipeline.wait_until(has_advanced, 90)  # `up` waits longer after each kill
        self.pipeline.wait_ready()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_one_wrong_frame_changes_nothing(run_directory, pin_path):
    """Each is refused and counted by its reason; energy goes on, books close, and nothing falls."""
    with Pipeline(run_directory, pin_path, interval_s="0.5") as pipeline:
        pipeline.wait_ready()
        watched = Watched(pipeline)
        watched.log = f"listening address={pipeline.url.removeprefix('http://')} "
        watched.goes_on()
        for name, (service, topic, frame, word) in ATTACKS.items():
            before = watched.counted(word)
            with ForeignStage(run_directory, service) as stage:
                stage.wait_for_readers(topic, 1)
                for _repeat in range(3):
                    stage.send(frame(stage.last), topic)
                    time.sleep(0.05)
                time.sleep(0.5)
            watched.goes_on()
            watched.scrapes.next()
            stages = pipeline.wait_until(lambda word=word, before=before: watched.has_counted(word, before))
            print(f"{name}: {word} in {', '.join(stages)}")
        assert not pipeline.said("unexpected")
        assert pipeline.said(r"power: epoch is Unix time \(\d+\), expected CLOCK_MONOTONIC")
        assert not [line for line in pipeline.log if re.search("Traceback|ledger_refused", line)]
