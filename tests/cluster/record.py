# SPDX-License-Identifier: Apache-2.0
"""Records what the real API server answers: python -m tests.cluster.record.

Into tests/metadata/cluster/recorded: lists, watches, refusals. Times, uids, versions and tokens are replaced,
so that two recordings of one version are equal.
"""

import json
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from . import objects
from .account import Account
from .client import Client
from .node import Node
from .programs import programs
from .server import Cluster

RECORDED = Path(__file__).parents[1] / "metadata/cluster/recorded"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALL_PODS, _SELECTOR = "/api/v1/pods", "fieldSelector"
_A, _B = "a" * 64, "b" * 64


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="wl-record-", dir="/var/tmp") as directory,
        Cluster(programs(), Path(directory)) as cluster,
    ):
        for name, answer in answers(cluster):
            path = RECORDED / f"{name}.json"
            text = text_of(answer)
            path.write_text(text, encoding="ascii")
            print(f"{path.name}: {len(text)} bytes")


def answers(cluster: Cluster) -> Iterator[tuple[str, dict]]:
    """(name, {status, body} or {events}) of each."""
    admin, account = cluster.admin, Account(cluster.admin, "reader")
    with Node(admin) as node:
        reader = Client(cluster.url, cluster.ca_file, account.token())
        selector = {_SELECTOR: f"spec.nodeName={node.name}"}

        def ask(path: str, client: Client = reader, **query: str) -> dict:
            status, body = client.ask("GET", f"{path}?{urlencode(query)}" if query else path)
            return {"status": status, "body": body}

        yield "list_empty", ask(_ALL_PODS, **selector)
        first = node.add_pod(
            "web-1",
            objects.container("web", "250m"),
            labels={"app": "web"},
            annotations={"example.org/note": "x"},
        )
        node.tell(first, [objects.running("web", _A)])
        node.add_pod("web-2", labels={"app": "web"}, owner=("ReplicaSet", "web-5d9c7b8f6"))
        yield "list", ask(_ALL_PODS, **selector)
        page = ask(_ALL_PODS, **selector, limit="1")
        yield "list_page_1", page
        more = page["body"]["metadata"]["continue"]
        yield "list_page_2", ask(_ALL_PODS, **selector, limit="1", **{"continue": more})
        yield "node", ask(f"/api/v1/nodes/{node.name}")
        yield "node_unknown", ask("/api/v1/nodes/no-such-node")
        yield "no_such_path", ask("/api/v1/no-such-things", admin)
        since = page["body"]["metadata"]["resourceVersion"]
        node.tell(first, [objects.running("web", _B, 1, before=_A)])
        node.remove_pod(first)
        node.add_pod("web-3")
        # A bookmark comes two seconds before a watch ends, if anything has changed since it began.
        watch = {"resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "5"}
        later = threading.Timer(1, node.add_pod, ("web-4",))
        later.start()
        events = list(reader.watch(_ALL_PODS, **selector, **watch))
        later.join()
        yield "watch", {"events": _first_of_each(events)}
        reader.close()
        stranger = Client(cluster.url, cluster.ca_file, "no-such-token")
        yield "unauthorized", ask(_ALL_PODS, stranger, **selector)
        stranger.close()
        account.take_rights()
        yield "forbidden", ask(_ALL_PODS, **selector)
        account.give_rights()
        cluster.stop()
        cluster.start()
        cluster.compact()
        reader.close()
        old = {"resourceVersion": since, "timeoutSeconds": "5"}
        yield "watch_expired", {"events": list(reader.watch(_ALL_PODS, **selector, **old))}
        yield "list_expired", ask(_ALL_PODS, **selector, limit="1", **{"continue": more})
        reader.close()
    account.remove()


def _first_of_each(events: list[dict]) -> list[dict]:
    """In the order in which they came; how many bookmarks come is chance."""
    return list({event["type"]: event for event in reversed(events)}.values())[::-1]


def text_of(answer: dict) -> str:
    """A file's content: without what is new each time."""
    licensed = {"SPDX-License-Identifier": "Apache-2.0"} | answer
    text = json.dumps(licensed, indent=1, sort_keys=True) + "\n"
    numbers: dict[str, int] = {}

    def numbered(match: re.Match) -> str:
        number = numbers.setdefault(match[0], len(numbers) + 1)
        return f"00000000-0000-0000-0000-{number:012d}"

    text = _TIME.sub("2026-01-01T00:00:00Z", text)
    text = _UID.sub(numbered, text)
    text = re.sub(r'("resourceVersion": )"\d+"', r'\1"1000"', text)
    text = re.sub(r'("continue": )"[^"]+"', r'\1"more"', text)
    text = re.sub(r"too old resource version: \d+ \(\d+\)", "too old resource version: 1 (2)", text)
    return re.sub(r"node-\d+", "node-1", text)


if __name__ == "__main__":
    main()
