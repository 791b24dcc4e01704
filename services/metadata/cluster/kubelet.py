# SPDX-License-Identifier: Apache-2.0
"""Pods from this node's kubelet, asked once each period.

Source: Kubernetes, "Kubelet authentication/authorization": GET /pods needs `get` on nodes/pods (1.33 and
newer, KubeletFineGrainedAuthz), or else on nodes/proxy, which also allows running commands in every
container.
"""

import time
from collections.abc import Callable

from . import answers
from .client import Client
from .errors import BAD_ANSWER, OBJECT_REFUSED, Failed
from .known_pods import KnownPods
from .report import Report

_PODS = "/pods"
FINE_RIGHT = (
    "grant `get` on `nodes/pods`, which a kubelet of Kubernetes 1.33 or newer asks for; an older one asks "
    "for `nodes/proxy`: see kubelet-legacy (docs/kubernetes.md)"
)
LEGACY_RIGHT = "grant `get` on `nodes/proxy` (docs/kubernetes.md)"
LEGACY_WARNING = (
    "kubelet-legacy needs `get` on `nodes/proxy`, which also allows running commands in every container of "
    "every node: use --kubernetes api, or kubelet from Kubernetes 1.33 on"
)


class KubeletRounds:
    """A round is one list."""

    def __init__(
        self,
        client: Client,
        known: KnownPods,
        report: Report,
        period_s: float,
        *,
        is_legacy: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.known = known
        self.has_told = False
        self._client = client
        self._report = report
        self._period_s = period_s
        self._right = LEGACY_RIGHT if is_legacy else FINE_RIGHT
        self._clock = clock
        self._due_s = clock()

    def round(self) -> float:
        """Ask for all pods."""
        try:
            page = answers.page(self._client.get(_PODS, {}, self._right))
        except ValueError as error:
            raise Failed(f"{error}: the kubelet's {_PODS}", event=BAD_ANSWER) from None
        self.known.replace(self.known.read(page.items))
        for cause in self.known.refused.take():
            self._report.warn(OBJECT_REFUSED, cause)
        self.has_told = True
        self._report.works(self._client.unverified)
        now_s = self._clock()
        self._due_s += self._period_s * max(1, -(-(now_s - self._due_s) // self._period_s))
        return self._due_s - now_s

    def abort(self) -> None:
        """End the request in progress."""
        self._client.abort()

    def close(self) -> None:
        """Close connections."""
        self._client.close()
