# SPDX-License-Identifier: Apache-2.0
"""The fuzzers themselves: they see the faults that they are for, and make the same inputs again."""

import json
import signal
import subprocess
import sys
from random import Random

import pytest

from wattline.wire.codec import decode

from .decoders import frames, proc_texts
from .structure import packed, restructured, unpacked

CAMPAIGN = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from tests.fuzz import campaign
from tests.fuzz.decoder import Decoder
campaign.HANG_S, campaign.CPU_S_MAX = 3.0, 0.1

def decode(data):
    if data[0] == 7:
        {fault}

decoder = Decoder(lambda chance: bytes([chance.randrange(8)]), decode, (ValueError,))
campaign._warm_up = lambda _decoder: None
print(json.dumps(asdict(campaign.run(decoder, "s", Path(sys.argv[1]), 30, None))))
"""


def campaign(tmp_path, fault):
    script = CAMPAIGN.replace("{fault}", fault)
    return subprocess.run(
        [sys.executable, "-c", script, tmp_path / "progress"], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("raise KeyError(data)", "KeyError at <string>"),
        ("bytes(30_000_000)[0:1]; bytearray(b'x' * 30_000_000)", "memory"),
        ("sum(range(10_000_000))", "time"),
    ],
)
def test_a_fault_is_seen(tmp_path, fault, kind):
    """Another error, much memory and much time are faults, each with the number of its first input."""
    found = json.loads(campaign(tmp_path, fault).stdout)
    assert found["inputs"] == 30
    assert [name.partition(":")[0] for name in found["faults"]] == [kind]
    (number, _words), *_ = found["faults"].values()
    made = [Random(f"s/{place}").randrange(8) for place in range(number + 1)]
    assert made.index(7) == number


def test_what_is_documented_is_no_fault(tmp_path):
    """An error that the decoder promises, and an input that is accepted, are none."""
    found = json.loads(campaign(tmp_path, "raise ValueError").stdout)
    assert not found["faults"]
    assert 0 < found["accepted"] < found["inputs"] == 30


def test_a_hang_is_ended_and_has_its_number(tmp_path):
    """The kernel ends a process that does not get on; the file says at which input."""
    assert campaign(tmp_path, "time.sleep(60)").returncode == -signal.SIGALRM
    number = int((tmp_path / "progress").read_text(encoding="ascii"))
    assert Random(f"s/{number}").randrange(8) == 7


def test_an_input_can_be_made_again():
    """It follows from the seed and its number alone."""
    for make in (frames.make, proc_texts.make):
        assert [make(Random(f"x/{number}")) for number in range(30)] == [
            make(Random(f"x/{number}")) for number in range(30)
        ]


def test_what_is_changed_is_changed_on_purpose():
    """A frame that is only taken apart and put together is the same frame; few changed ones are alike."""
    for seed in frames.SEEDS:
        assert decode(packed(unpacked(seed))) == decode(seed)
    assert len({restructured(Random(f"x/{number}"), frames.VALUES) for number in range(200)}) > 150
