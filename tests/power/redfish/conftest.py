# SPDX-License-Identifier: Apache-2.0
"""An authority for all tests, and a BMC for each."""

from collections.abc import Iterator

import pytest

from ..world import Clock
from .authority import Authority
from .bmc import Bmc


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bmc(authority, clock) -> Iterator[Bmc]:
    """A BMC that lives on the test's clock, and whose own is wrong by years."""
    with Bmc(authority, now_ns=clock.monotonic_ns) as running:
        yield running
