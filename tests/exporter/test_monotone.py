# SPDX-License-Identifier: Apache-2.0
"""No counter falls from one scrape to the next, whatever ends in between."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .frames import books
from .readback import scraped

ZONES = [("package", "0", "rapl-sysfs"), ("other", "chassis-1", "redfish"), ("package", "0", "estimator")]
PODS = {"c": "p", "d": "p", "system_processes": "", "kernel_processes": ""}
# Machines are in one container each, or in several that never end as a whole: rows of one machine end in
# one frame, as docs/wire.md asks.
VM_OF = {"c": "v", "d": "x", "system_processes": "w", "kernel_processes": "w"}
END_VM, END_CONTAINER, END_POD = "end a machine", "end a container", "end a pod"

amounts = st.integers(0, 5_000_000)
uses = st.tuples(st.sampled_from([*PODS]), st.booleans(), st.tuples(*[amounts] * len(ZONES)))
ends = st.one_of(
    st.tuples(st.just(END_VM), st.sampled_from(["v", "w", "x"])),
    st.tuples(st.just(END_CONTAINER), st.sampled_from(["c", "d"])),
    st.tuples(st.just(END_POD), st.just("p")),
)


class World:
    """A calculator's totals: what ends is added to another row in the same frame."""

    def __init__(self):
        self.rows = {}  # µJ per zone by (container id, pod uid, vm id)

    def add(self, row, amounts_uj):
        self.rows[row] = [
            a + b for a, b in zip(self.rows.get(row, [0] * len(ZONES)), amounts_uj, strict=True)
        ]

    def move(self, row, into):
        self.add(into, self.rows.pop(row))

    def end(self, what, which):
        for row in list(self.rows):
            container_id, pod_uid, vm_id = row
            if what == END_VM and vm_id == which:
                self.move(row, (container_id, pod_uid, ""))
            elif what == END_CONTAINER and container_id == which:
                self.move(row, ("terminated", pod_uid, ""))
            elif what == END_POD and pod_uid == which:
                self.move(row, ("terminated", "", ""))

    def counters(self):
        """Every counter of a scrape, by name and labels."""
        rows = sorted(self.rows.items())
        containers = [
            (container_id, pod_uid, "", sum(uj), uj, [0] * len(ZONES))
            for (container_id, pod_uid, _vm), uj in rows
        ]
        vm_ids = [vm_id for (_id, _pod, vm_id), _uj in rows]
        return {
            (one.name, frozenset(one.labels.items())): one.value
            for one in scraped(books(ZONES, containers, [], [], vm_ids=vm_ids))
            if one.name.endswith("_total")
        }


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.lists(st.one_of(uses, ends), min_size=2, max_size=12))
def test_no_counter_falls_while_it_lives(steps):
    """Of containers, terminated ones, pods and machines: what both of two scrapes show has not fallen."""
    world, before = World(), {}
    for step in steps:
        if len(step) == 2:
            world.end(*step)
        else:
            container_id, in_vm, amounts_uj = step
            world.add((container_id, PODS[container_id], VM_OF[container_id] if in_vm else ""), amounts_uj)
        after = world.counters()
        fallen = {name for name in before.keys() & after.keys() if after[name] < before[name]}
        assert not fallen
        before = after
