# SPDX-License-Identifier: Apache-2.0
"""The recorded answers are what the real API server says today."""

import pytest

from .record import RECORDED, answers, text_of


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_recording_is_true(cluster):
    """Asked the same again, it answers the same."""
    for name, answer in answers(cluster):
        kept = (RECORDED / f"{name}.json").read_text(encoding="ascii")
        assert text_of(answer) == kept, f"{name}: python -m tests.cluster.record makes it anew"
