# SPDX-License-Identifier: Apache-2.0
"""The age of a last frame and its publisher, as `wattline tap --last` prints them."""

from pathlib import Path

import msgspec
import pytest

from wattline.cli.frame_age import remark
from wattline.wire.codec import decode

FRAME = decode((Path(__file__).parents[1] / "wire/fixtures/valid/power_full.frame").read_bytes())
NS = 1_000_000_000


def said(age_s, publisher, *, boot_id=FRAME.boot_id):
    age_ns = round(age_s * NS)
    return remark(
        msgspec.structs.replace(FRAME, interval_ns=NS),
        publisher,
        boot_id=boot_id,
        mono_ns=FRAME.mono_ns + age_ns,
        unix_ns=FRAME.unix_ns + age_ns,
    )


def test_a_living_publisher_is_named():
    """By its process id, young or old the frame."""
    assert said(1.24, 123) == "(1.2 s old, published by pid 123)"
    assert said(93, 123) == "(93 s old, published by pid 123)"


def test_a_publisher_that_has_ended_is_told():
    """An old frame without a holder of the lock."""
    assert said(93, None) == "(93 s old, its publisher has ended)"


def test_a_young_frame_without_a_holder_says_nothing_of_it():
    """Its publisher may live in another container, where its lock can't be seen."""
    assert said(4.9, None) == "(4.9 s old)"
    assert said(5.1, None) == "(5.1 s old, its publisher has ended)"


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10.4, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (50 * 3600, "2 days"),
    ],
)
def test_ages_are_short(age_s, text):
    """In the largest unit that leaves a figure of 2 or more."""
    assert said(age_s, 1).startswith(f"({text} old")


def test_a_frame_of_another_boot_has_the_age_of_the_calendar():
    """Its monotonic clock is another."""
    assert said(7200, None, boot_id="another") == "(2 h old, of an earlier boot or another machine)"
    assert said(-5, 1, boot_id="another").startswith("(0.0 s old")
