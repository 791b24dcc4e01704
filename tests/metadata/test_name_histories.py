# SPDX-License-Identifier: Apache-2.0
"""Names through any history of a cluster: what isn't awaited is never contradicted, and waits end in time."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.metadata.cluster.pod import CONTAINER, EPHEMERAL, INIT
from services.metadata.cluster.pod_names import PodNames
from services.metadata.container_names import ContainerNames
from services.metadata.name_tables import NameTables

from .pods import GRACE_NS, S, app, containers_of, pod, pods_of, seen

UIDS = [f"{number}f1c2d3e-4a5b-4c6d-8e7f-0123456789ab" for number in range(2)]
IDS = st.integers(0, 2)  # few, so that histories meet
KINDS = (CONTAINER, INIT, EPHEMERAL)
REPORTED = st.lists(
    st.tuples(
        st.sampled_from(UIDS),
        st.sampled_from(["a", "b"]),  # the pod's name: may change hands
        st.lists(st.tuples(IDS, st.sampled_from(["x", "y"]), st.sampled_from(KINDS)), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=3,
)
SEEN = st.lists(st.tuples(st.sampled_from(UIDS), IDS), min_size=1, max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("cluster"), REPORTED),
    st.tuples(st.just("cgroups"), SEEN),
    st.tuples(st.just("pause"), st.lists(IDS, max_size=3)),
    st.tuples(st.just("engine"), st.lists(IDS, max_size=3)),
    st.tuples(st.just("restart"), st.none()),  # the source's: its list is empty, and comes again
    st.tuples(st.just("time"), st.integers(0, 400 * S)),
)


@dataclass
class History:
    """Takes the steps, and holds each published row against the rows before it."""

    names: PodNames = field(default_factory=PodNames)
    engine: ContainerNames = field(default_factory=ContainerNames)
    cgroups: dict = field(default_factory=dict)
    first_ns: dict = field(default_factory=dict)
    settled: dict = field(default_factory=dict)  # what each id was called once it wasn't awaited
    now_ns: int = 0
    pausing: frozenset = frozenset()

    def __post_init__(self):
        self.tables = NameTables(GRACE_NS, self.names, self.engine)

    def step(self, what, argument):
        if what == "time":
            self.now_ns += argument
        elif what == "pause":
            self.pausing = frozenset(f"{number:064x}" for number in argument)
        elif what == "engine":
            ids = [f"{number:064x}" for number in argument]
            self.engine.answer(ids, dict.fromkeys(ids, "k8s_x"))
        elif what == "cgroups":
            # An id is in one pod for as long as it is there, as a cgroup is at one place.
            self.cgroups = {
                one: self.cgroups.get(one, identity)
                for uid, number in argument
                for one, identity in seen(uid, number, runtime="docker").items()
            }
        else:
            pods = {
                uid: pod(
                    uid, *(app(number, name=called, kind=kind) for number, called, kind in inside), name=name
                )
                for uid, name, inside in argument or ()
            }
            self.names.take(pods, self.now_ns, has_told=True)
        self.publish()

    def publish(self):
        present = {identity.pod_uid for identity in self.cgroups.values()}
        containers = containers_of(self.tables.containers(self.cgroups, self.pausing, self.now_ns))
        pods = pods_of(self.tables.pods(present, self.now_ns)[0])
        self.names.forget(present, self.cgroups, self.now_ns)
        rows = {(one, "container"): containers.get(one, ("", "", False)) for one in self.cgroups}
        rows |= {(one, "pod"): pods.get(one, ("", False)) for one in present}
        self.first_ns = {key: self.first_ns.get(key, self.now_ns) for key in rows}
        self.settled = {key: called for key, called in self.settled.items() if key in rows}
        assert len(containers) + len(pods) <= len(rows)
        for key, (*called, is_awaited) in rows.items():
            self.judge(key, called, is_awaited=is_awaited)

    def judge(self, key, called, *, is_awaited):
        if is_awaited:
            assert not any(called)
            assert key not in self.settled, "awaited again"
            assert self.now_ns - self.first_ns[key] < GRACE_NS
            return
        before = self.settled.get(key)
        if before is None or not any(before):
            self.settled[key] = called  # a name may still be added where there was none
        else:
            assert called == before, "another name"


@settings(max_examples=300)
@given(st.lists(STEPS, min_size=5, max_size=30))
def test_what_is_settled_is_never_contradicted(steps):
    """Pods before or after their cgroups, late statuses, deletions, restarts of the source, in any order."""
    history = History()
    for what, argument in steps:
        history.step(what, argument)
