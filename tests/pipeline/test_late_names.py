# SPDX-License-Identifier: Apache-2.0
"""Names that come early, late, never or in another way, as a scraper sees them: calculator and exporter."""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.calculator.fixed_names import AWAITED_MAX_NS
from services.calculator.reported_names import MachineName, PodName
from services.calculator.rules import Rules
from services.exporter import scrape
from services.exporter.inputs import Inputs
from services.exporter.self_metrics import HttpCounts
from tests.calculator.desk import Desk
from tests.calculator.paper import ROOT, Paper
from tests.calculator.world import S, header
from wattline.wire.frames import Energy, MetadataContainers
from wattline.wire.identities import no_machines, no_pod_labels, no_pods

from .books import check_books
from .ever_rising import NOT_FOR_EVER
from .metrics import read

A, B, C, D = "a" * 64, "b" * 64, "c" * 64, "d" * 64
KEEP_S = 5
# cgroup: container, pod, machine. One container has a machine in it; one process of a pod is in no container.
PLACES = {
    10: (A, "p", ""),
    11: (B, "p", ""),
    12: (C, "q", ""),
    13: (D, "", ""),
    14: (A, "p", "vm"),
    15: ("", "q", ""),
}
MOVED = (A, "q", "")  # what a metadata stage may say of cgroup 10 that has lost its way
HOST = ((ROOT, 2, 1), 0)
# Families with names as labels, and the label that says whose they are.
KEYS = {
    "kepler_container": "container_id",
    "wattline_container_info": "container_id",
    "wattline_pod_joules_total": "pod_uid",
    "wattline_pod_info": "pod_uid",
    "wattline_pod_labels": "pod_uid",
    "wattline_vm_info": "vm_id",
}
NOT_NAMES = ("mode", "source", "zone")


@dataclass
class Scraper:
    """One pipeline's scrapes: each is checked against its frame, and against the one before."""

    labels: dict = field(default_factory=dict)  # by (family, key), while the key has a row
    counters: dict = field(default_factory=dict)
    scrapes: int = 0
    series: list = field(default_factory=list)

    def scrape(self, tables, now_ns):
        self.scrapes += 1
        energy = Energy(
            **header("calculator", self.scrapes, now_ns, 1),
            idle_policy="node",
            activity_epoch=1,
            activity_mono_ns=now_ns,
            **tables,
        )
        # The exporter keeps nothing: each scrape may be of another one.
        self.series = read(scrape.text(Inputs(energy=energy), HttpCounts({}, 0), "x86_64", now_ns))
        check_books(self.series)
        self._check_pods(energy)
        self._check_labels(energy)
        self._check_counters()

    def _check_pods(self, energy):
        containers = energy.containers
        of_pods_uj = sum(
            columns[0][row]
            for columns in (containers.dynamic_uj, containers.idle_uj)
            for row, pod_uid in enumerate(containers.pod_uid)
            if pod_uid
        )
        shown = sum(one.value for one in self.series if one.name == "wattline_pod_joules_total")
        waits = sum(
            one.value
            for one in self.series
            if one.name == "wattline_awaiting_names_joules" and one.labels["level"] == "pod"
        )
        assert shown + waits == Decimal(of_pods_uj).scaleb(-6)

    def _check_labels(self, energy):
        """Of each container, pod and machine one set of labels per family, as long as it has a row."""
        found = defaultdict(set)
        for one in self.series:
            for prefix, key in KEYS.items():
                if one.name.startswith(prefix):
                    names = frozenset(pair for pair in one.labels.items() if pair[0] not in NOT_NAMES)
                    found[one.name, key, one.labels[key]].add(names)
        assert all(len(names) == 1 for names in found.values()), found
        containers = energy.containers
        alive = {
            "container_id": set(containers.container_id),
            "pod_uid": set(containers.pod_uid),
            "vm_id": set(containers.vm_id),
        }
        for (family, key, value), names in self.labels.items():
            if value in alive[key]:
                assert found[family, key, value] == names, (family, value)
        self.labels = dict(found)

    def _check_counters(self):
        counters = {
            (one.name, *sorted(one.labels.items())): one.value
            for one in self.series
            if one.name.endswith("_total") and not one.name.startswith(NOT_FOR_EVER)
        }
        for key in counters.keys() & self.counters.keys():
            assert counters[key] >= self.counters[key], key
        self.counters = counters

    def names(self, family, key):
        """The names in a family by container, pod or machine."""
        ignored = (*NOT_NAMES, key)
        return {
            one.labels[key]: {name: value for name, value in one.labels.items() if name not in ignored}
            for one in self.series
            if one.name == family
        }


class Pipeline:
    """A machine on paper, a calculator that can be killed, and a scraper."""

    def __init__(self):
        self.paper = Paper(counts=False)
        self.paper.meter("package", "0", 20, per_cpu_s=8)
        self.scraper = Scraper()
        self.desk = Desk(Rules(terminated_keep_ns=KEEP_S * S), self.show)
        self.last = {}

    def show(self, tables):
        self.scraper.scrape(tables, self.paper.now_ns)

    def send(self, seconds, used, frames=("metadata", "activity", "power")):
        """Time passes; frames arrive in this order."""
        for cgroup_id in used:
            if cgroup_id not in self.paper.parents:
                self.paper.born(cgroup_id, ROOT, *PLACES[cgroup_id])
        work = {((cgroup_id, 90 + cgroup_id, 7), 0): (0.1, 1, 1, 0) for cgroup_id in used}
        self.paper.run(round(seconds * S), {HOST: (0.1, 1, 1, 0)} | work)
        for name in frames:
            frame = FRAMES[name](self.paper)
            self.last[frame.topic] = frame
            self.desk.take(frame)

    def kill(self):
        """Another calculator starts from the ledger, and finds each stream's last frame."""
        self.desk.kill(*self.last.values())


def older(paper):
    """Metadata from before there were names."""
    containers = MetadataContainers(container_id=[], container_name=[])
    return msgspec.structs.replace(
        paper.metadata(),
        containers=containers,
        pods=no_pods(),
        pod_labels=no_pod_labels(),
        machines=no_machines(),
    )


def just_started(paper):
    """Metadata that has met no activity yet."""
    parents, paper.parents = paper.parents, {}
    frame = older(paper)
    paper.parents = parents
    return msgspec.structs.replace(frame, covers_epoch=0, covers_mono_ns=0)


FRAMES = {
    "metadata": Paper.metadata,
    "older": older,
    "just started": just_started,
    "activity": Paper.activity,
    "power": Paper.power,
}
IDS = [A, B, C, D, "p", "q"]


def say(paper, level_id, how):
    """What metadata says from now on of a container or pod: that it is awaited, its name, or nothing."""
    is_pod = level_id in ("p", "q")
    table = paper.pods if is_pod else paper.called
    table.pop(level_id, None)
    paper.awaited.discard(level_id)
    if how == "awaited":
        paper.awaited.add(level_id)
        table[level_id] = PodName() if is_pod else ""
    elif how != "nothing":
        labels = (("app", how), ("team/x", "t"))
        table[level_id] = PodName(how, "shop", "", "Deployment", "web", "", labels) if is_pod else how


steps = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([0.5, 1.0, 3.0, 20.0, 70.0]),
            "used": st.sets(st.sampled_from([*PLACES])),
            "says": st.dictionaries(
                st.sampled_from(IDS),
                st.sampled_from(["awaited", "awaited", "one", "two", "nothing"]),
                max_size=3,
            ),
            "frames": st.permutations(["metadata", "activity", "power"])
            | st.lists(st.sampled_from([*FRAMES]), unique=True),
            "event": st.sampled_from([None] * 5 + ["killed", "removed", "lost its way", "machine named"]),
        }
    ),
    min_size=2,
    max_size=14,
)


def run(timeline):
    pipeline = Pipeline()
    paper = pipeline.paper
    for step in timeline:
        for one, how in step["says"].items():
            say(paper, one, how)
        pipeline.send(step["seconds"], step["used"], step["frames"])
        event = step["event"]
        if event == "killed":
            pipeline.kill()
        elif event == "removed":
            for cgroup_id in sorted(step["used"])[:2]:
                paper.remove(cgroup_id)
        elif event == "lost its way" and 10 in paper.containers:
            paper.containers[10] = MOVED if paper.containers[10] != MOVED else PLACES[10]
        elif event == "machine named":
            paper.machines["vm"] = MachineName(f"vm{len(paper.machines)}", "", "", "qemu")
    pipeline.send(1, PLACES)
    pipeline.send(1, PLACES)
    return pipeline


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(steps)
def test_a_late_name_splits_and_drops_no_series(timeline):
    """In each scrape the sums close; each workload has one set of labels for life; no counter falls."""
    assert run(timeline).scraper.scrapes


def test_names_that_come_in_time_are_shown():
    """Energy is counted meanwhile, and is in the series from the first scrape on that has it."""
    pipeline = Pipeline()
    for one in (A, B, "p"):
        say(pipeline.paper, one, "awaited")
    for _second in range(3):
        pipeline.send(1, PLACES)
    names = pipeline.scraper.names
    assert names("kepler_container_joules_total", "container_id").keys() == {
        "system_processes", C, D,
    }  # fmt: skip
    assert names("wattline_pod_joules_total", "pod_uid") == {"q": {"pod_name": "", "namespace": ""}}
    waits = [one.value for one in pipeline.scraper.series if one.name == "wattline_awaiting_names_joules"]
    assert all(waits)
    for one, name in ((A, "api"), (B, "proxy"), ("p", "web-1")):
        say(pipeline.paper, one, name)
    pipeline.send(1, PLACES)
    assert names("kepler_container_joules_total", "container_id")[A] == {
        "pod_name": "web-1",
        "container_name": "api",
        "container_namespace": "shop",
    }
    of_pod = [one for one in pipeline.scraper.series if one.name == "wattline_pod_info"]
    assert {one.labels["owner_name"] for one in of_pod if one.labels["pod_uid"] == "p"} == {"web"}
    waits = [one.value for one in pipeline.scraper.series if one.name == "wattline_awaiting_names_joules"]
    assert not any(waits)


def test_a_metadata_stage_that_is_started_anew_ends_no_wait():
    """Its first frames know of no container at all: that is no word on its name."""
    pipeline = Pipeline()
    for one in (A, "q"):
        say(pipeline.paper, one, "awaited")
    pipeline.send(1, PLACES)
    for _second in range(3):
        pipeline.send(1, PLACES, ["just started", "power"])
        pipeline.send(1, PLACES, ["activity", "power"])
    say(pipeline.paper, A, "api")
    say(pipeline.paper, "q", "web-2")
    pipeline.send(1, PLACES)
    pipeline.send(1, PLACES)
    names = pipeline.scraper.names("kepler_container_joules_total", "container_id")
    assert (names[A]["container_name"], names[C]["pod_name"]) == ("api", "web-2")


def test_a_name_is_not_awaited_for_ever():
    """Metadata that always says so hides nothing for longer than the limit, nor do calculators that die."""
    for kills in (0, 20):
        pipeline = Pipeline()
        for one in (A, "q"):
            say(pipeline.paper, one, "awaited")
        for second in range(AWAITED_MAX_NS // S + 2):
            pipeline.send(1, PLACES)
            shown = pipeline.scraper.names("kepler_container_joules_total", "container_id")
            assert shown.keys() >= {B, D}
            if second < AWAITED_MAX_NS // S - 1:
                assert not shown.keys() & {A, C}
            if second < kills:
                pipeline.kill()
        assert shown.keys() >= {A, B, C, D}
        assert shown[A] == {"pod_name": "", "container_name": "", "container_namespace": ""}
