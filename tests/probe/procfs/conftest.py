# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_machine import FakeMachine


@pytest.fixture
def machine(run_directory: Path) -> Iterator[FakeMachine]:
    """In shared memory, where inode numbers are not used again, as in cgroup2."""
    fake = FakeMachine(run_directory)
    yield fake
    fake.close()
