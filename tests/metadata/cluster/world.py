# SPDX-License-Identifier: Apache-2.0
"""A cluster of our own, a node in it, and sources that ask it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.metadata.cluster.backoff import Backoff
from services.metadata.cluster.client import Limits
from services.metadata.cluster.opening import opened
from services.metadata.cluster.pod import PodSource
from services.metadata.settings import MetadataSettings
from tests.power.redfish.authority import Authority
from wattline.log import Log

from .objects import NODE
from .reading import read_pod
from .server import Cluster

LIMITS = Limits(answer_s=1.0, silence_s=1.0, watch_s=20.0)


class World:
    """`counted`: what the loop would count, by event; `said`: causes, in order."""

    def __init__(self, directory: Path, authority: Authority, certificate: tuple[Path, Path] | None = None):
        self.cluster = Cluster(authority, certificate=certificate)
        self.directory = directory
        self.account = directory / "account"
        self.account.mkdir()
        self.scratch = directory / "metadata"
        self.scratch.mkdir()
        self.write_token("token-1")
        self.write_ca()
        self.counted: dict[str, int] = {}
        self.said: list[str] = []
        self.back = 0
        self.sources: list[PodSource] = []

    def write_token(self, token: str):
        (self.account / "token").write_text(f"{token}\n", encoding="ascii")

    def write_ca(self, path: Path | None = None):
        (self.account / "ca.crt").write_bytes((path or self.cluster.authority.ca_file).read_bytes())

    @property
    def environ(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.cluster.port),
            "NODE_NAME": NODE,
        }

    def settings(self, way: str, **settings: Any) -> MetadataSettings:
        values = {f"kubernetes_{name}": value for name, value in settings.items()}
        return MetadataSettings(kubernetes=way, run=self.directory, **values)

    def open(self, way: str = "api", limits: Limits = LIMITS, **settings: Any) -> PodSource:
        source = opened(
            way,
            self.settings(way, **settings),
            Log("metadata", stream=_Back(self)),
            self.count,
            read_pod=read_pod,
            account=self.account,
            environ=self.environ,
            directory=self.scratch,
            limits=limits,
            backoff=Backoff(lambda: 0.0, 0.02, 0.1),
        )
        self.sources.append(source)
        return source

    def count(self, event: str, cause: object):
        self.counted[event] = self.counted.get(event, 0) + 1
        self.said.append(str(cause))

    def close(self):
        for source in self.sources:
            source.close()
        self.cluster.stop()


class _Back:
    """A log's stream, on which only the good news come: the rest is counted."""

    def __init__(self, world: World):
        self._world = world

    def write(self, text: str):
        self._world.back += "kubernetes_back" in text

    def flush(self):
        """Nothing to do."""


def eventually(true: Callable[[], object], source: PodSource | None = None, limit_s: float = 10.0):
    """Wait for something that another thread brings about."""
    until_s = time.monotonic() + limit_s
    while not true():
        if source is not None:
            source.state()
        assert time.monotonic() < until_s, source.state() if source is not None else "it did not come about"
        time.sleep(0.003)


def names(source: PodSource) -> set[str]:
    return {pod.name for pod in source.pods().values()}
