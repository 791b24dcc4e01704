# SPDX-License-Identifier: Apache-2.0
"""What tests of the wire have in common."""

import pytest

from wattline.wire.rundir import ServiceDirectory


@pytest.fixture
def directory(run_directory):
    """The directory of `power`, made."""
    prepared = ServiceDirectory(run_directory, "power")
    prepared.prepare()
    return prepared
