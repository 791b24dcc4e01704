# SPDX-License-Identifier: Apache-2.0
"""A probe whose CLOCK_MONOTONIC is not that of the kernel's stamps."""

import time

import pytest

from wattline.errors import Fatal


@pytest.mark.parametrize("ahead_s", [-1000, 1000])
def test_a_clock_that_is_not_the_kernels_is_refused(reader, monkeypatch, ahead_s):
    """The kernel's own stamps tell, also where nothing else shows a time namespace."""
    reader.sample()
    monotonic_ns = time.monotonic_ns
    monkeypatch.setattr("time.monotonic_ns", lambda: monotonic_ns() + ahead_s * 1_000_000_000)
    with pytest.raises(Fatal, match="CLOCK_MONOTONIC here is not the kernel's") as caught:
        reader.sample()
    assert caught.value.exit_code == Fatal.SETTINGS
