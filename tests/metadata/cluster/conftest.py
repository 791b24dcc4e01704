# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.power.redfish.authority import Authority

from .world import World


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """The cluster's."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority):
    """The API server's, and its key."""
    return authority.certificate()


@pytest.fixture
def world(tmp_path, authority, certificate):
    """A cluster, and sources that ask it."""
    made = World(tmp_path, authority, certificate)
    yield made
    made.close()
