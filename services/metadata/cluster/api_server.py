# SPDX-License-Identifier: Apache-2.0
"""Pods from the API server: one list, then a watch that goes on from it.

Source: Kubernetes API Concepts, "Efficient detection of changes", "Watch bookmarks", "410 Gone responses".
"""

import contextlib
import random
import time
from collections.abc import Callable
from http import HTTPStatus

from . import answers
from .choice import is_node_name
from .client import Client, Limits
from .errors import BAD_ANSWER, NO_NODE, OBJECT_REFUSED, REFUSED, SILENT, TOO_LARGE, Expired, Failed, Silent
from .known_pods import TOO_LONG, KnownPods
from .report import Report

_PODS = "/api/v1/pods"
_PAGE_PODS = 100  # some 1 MB; a page that is too large is asked for again, in parts
_PAGES_MAX = answers.LIST_OBJECTS_MAX
# With pods that never ran: a cluster keeps 12,500 that have ended (--terminated-pod-gc-threshold).
_LISTED_MAX = 50_000
_STEADY_S = 5.0  # a watch that ends earlier, without an event, is asked for again only after a wait
_LIST_RIGHT = "grant `list` on `pods`, in the whole cluster (docs/kubernetes.md)"
_WATCH_RIGHT = "grant `watch` on `pods`, in the whole cluster (docs/kubernetes.md)"
_NO_PODS_YET_S = (
    60.0  # a watch lasts no longer while there is no pod, to see whether there is such a node by now
)
_AGAIN, _AFTER_A_WAIT = 0.0, -1.0


class ApiServerRounds:
    """A round is a watch, with a list before it if there is no resourceVersion to go on from."""

    def __init__(
        self,
        client: Client,
        known: KnownPods,
        report: Report,
        node: str,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.known = known
        self.has_told = False
        self._client = client
        self._report = report
        self._node = node
        self._limits = limits
        self._clock = clock
        self._page_pods = _PAGE_PODS
        self._is_expired = False  # since the newest event
        self._no_pods = ""  # why there is none, if that may be a mistake

    def round(self) -> float:
        """List if need be, then watch until that ends."""
        if not is_node_name(self._node):
            raise Failed(
                f"{self._node!r:.80} can't be a node's name in a cluster: set kubernetes.node", event=NO_NODE
            )
        try:
            is_listed = not self.known.version
            if is_listed:
                self._list()
            self._no_pods = "" if self.known.by_uid else self._look_for_node()
            if is_listed:  # without it, only the watch's beginning shows that the server answers
                self._judge(at_start=True)
            return self._watch()
        except Expired:
            self.known.version = ""
            again, self._is_expired = not self._is_expired, True
            return _AGAIN if again else _AFTER_A_WAIT
        except Silent:
            # A connection that is dead in silence may have lost any number of events.
            self.known.version = ""
            self._report.warn(
                SILENT, f"the watch was silent for {self._limits.silence_s:g} s: the list is read anew"
            )
            return _AGAIN
        finally:
            self._say_refused()

    def abort(self) -> None:
        """End the request in progress."""
        self._client.abort()

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _list(self) -> None:
        """All pages, and only then the new list in place of the old one."""
        pods, count = [], 0
        query = {"fieldSelector": f"spec.nodeName={self._node}", "limit": str(self._page_pods)}
        for _page in range(_PAGES_MAX):
            page = self._page(query)
            pods += self.known.read(page.items)
            count += len(page.items)
            if len(pods) > answers.LIST_OBJECTS_MAX or count > _LISTED_MAX:
                raise Failed(
                    f"expected at most {answers.LIST_OBJECTS_MAX} pods of node {self._node}, got more",
                    event=TOO_LARGE,
                )
            if not page.more:
                break
            query["continue"] = page.more
        else:
            raise Failed("the list of pods has no end", event=TOO_LARGE)
        if not page.version:
            raise Failed("expected a list with a resourceVersion, got one without", event=BAD_ANSWER)
        self.known.replace(pods, page.version)

    def _page(self, query: dict[str, str]) -> answers.Page:
        try:
            return answers.page(self._client.get(_PODS, query, _LIST_RIGHT))
        except ValueError as error:
            raise Failed(f"{error}: {_PODS}", event=BAD_ANSWER) from None
        except Failed as failed:
            if failed.event == TOO_LARGE:
                self._page_pods = max(1, self._page_pods // 10)
            raise

    def _watch(self) -> float:
        longest_s = _NO_PODS_YET_S if self._no_pods else self._limits.watch_s
        watch_s = max(1, round(longest_s * (1 - random.random() / 5)))  # noqa: S311 spreads load
        query = {
            "fieldSelector": f"spec.nodeName={self._node}",
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.known.version,
            "timeoutSeconds": str(watch_s),
        }
        began_s, events = self._clock(), 0
        with contextlib.closing(self._client.watch(_PODS, query, _WATCH_RIGHT)) as lines:
            for line in lines:
                if line is None:
                    self.known.refused.add(TOO_LONG)
                elif line:
                    self._take(line)
                    events += 1
                self._judge(at_start=not line)
        is_steady = events or self._clock() - began_s >= _STEADY_S
        return _AGAIN if is_steady else _AFTER_A_WAIT

    def _take(self, line: bytes) -> None:
        try:
            event = answers.event(line)
        except ValueError as error:
            # What it was is lost: the list says.
            self.known.version = ""
            raise Failed(f"{error}: {_PODS}", event=BAD_ANSWER) from None
        if event.type == answers.ERROR:
            raise self._error(event)
        self.known.apply(event)
        self._is_expired = False

    def _error(self, event: answers.Event) -> Exception:
        if event.code == HTTPStatus.GONE:
            return Expired()
        self.known.version = ""
        return Failed(f"the API server ended the watch with an error ({event.code})", event.code, REFUSED)

    def _judge(self, *, at_start: bool) -> None:
        """Say that all is well, unless there is no pod, which may be for a wrong name of the node."""
        self._say_refused()
        if self.known.by_uid:
            self._no_pods = ""
        if not self._no_pods:
            self.has_told = True
            self._report.works(self._client.unverified)
        elif at_start:
            self._report.fails(NO_NODE, self._no_pods)

    def _look_for_node(self) -> str:
        """Why there is no pod, if that may be a mistake; empty if the cluster has the node."""
        try:
            self._client.get(f"/api/v1/nodes/{self._node}", {}, "")
        except Failed as failed:
            if failed.status == HTTPStatus.NOT_FOUND:
                return (
                    f"the cluster has no node {self._node}: set kubernetes.node to one of kubectl get nodes"
                )
            if failed.status == HTTPStatus.FORBIDDEN:
                return f"no pod on node {self._node}: is this its name in the cluster? Set kubernetes.node"
            raise
        return ""

    def _say_refused(self) -> None:
        for cause in self.known.refused.take():
            self._report.warn(OBJECT_REFUSED, cause)
