# SPDX-License-Identifier: Apache-2.0
"""One API server for all tests of a session; for each test a node in it, and a Wattline that asks it."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.machine.simulated_rapl import IDLE_POWER, SimulatedRapl
from tests.pipeline.pipeline import Pipeline

from .account import Account, write_kubeconfig
from .kubepods import Kubepods
from .node import Node
from .programs import programs
from .server import Cluster
from .watching import Watching

WATTLINE = (sys.executable, "-m", "wattline.cli")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """The real API server; a test that ends it starts it again."""
    with Cluster(programs(), tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def node(cluster) -> Iterator[Node]:
    """A node without pods; removed with its pods."""
    with Node(cluster.admin) as new:
        yield new


@pytest.fixture
def kubepods(tmp_path) -> Iterator[Kubepods]:
    """Where pods' containers run on this machine."""
    with Kubepods(tmp_path / "pods") as pods:
        yield pods


@pytest.fixture
def kubeconfig(cluster, node, readable_directory) -> Iterator[Path]:
    """A kubeconfig for an account that has Wattline's rights."""
    account = Account(cluster.admin, f"wattline-{node.name}")
    path = readable_directory / f"kubeconfig-{node.name}"
    write_kubeconfig(path, cluster.url, cluster.ca_file, account.token())
    yield path
    account.remove()


@pytest.fixture
def wattline(run_directory, pin_path, tmp_path) -> Callable:
    """What starts five services on a simulated meter; its value, used with `with`, watches their scrapes."""

    @contextlib.contextmanager
    def started(
        kubeconfig: Path | None, node_name: str, command: Sequence[str] = WATTLINE, **settings: str
    ) -> Iterator[Watching]:
        if kubeconfig is not None:
            settings |= {
                "kubernetes": "api",
                "kubernetes_kubeconfig": str(kubeconfig),
                "kubernetes_node": node_name,
            }
        settings = {"interval_s": "0.5", "idle_power": IDLE_POWER, **settings}
        with (
            SimulatedRapl(tmp_path / "sys") as rapl,
            Pipeline(
                run_directory, pin_path, command=command, path_sysfs=str(rapl.sysfs), **settings
            ) as pipeline,
        ):
            pipeline.wait_ready()
            with Watching(pipeline) as watching:
                yield watching

    return started
