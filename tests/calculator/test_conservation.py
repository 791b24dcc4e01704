# SPDX-License-Identifier: Apache-2.0
"""The books close, whatever happens to the streams."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from services.calculator.energy_frame import energy_tables
from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.state import State
from wattline.wire.codec import pack, unpack

from .world import CONTAINER, World

PROCESSES = [(cgroup, 10 * cgroup + number, 7) for cgroup in (1, 2, 3, 4) for number in range(3)]
CGROUPS = (1, 2, 3, 4)

steps = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([0.1, 1.0, 1.7, 30.0]),
            "use": st.dictionaries(st.sampled_from(PROCESSES), st.floats(0, 0.2), max_size=6),
            "activity": st.sampled_from(["sent", "sent", "sent", "lost", "repeated"]),
            "power": st.sampled_from(["sent", "sent", "sent", "lost", "late"]),
            "metadata": st.booleans(),
            "ends": st.lists(st.sampled_from(PROCESSES), max_size=2),
            "event": st.sampled_from([None] * 6 + ["calculator killed", "probe begins anew"]),
        }
    ),
    min_size=2,
    max_size=25,
)


class Run:
    """A calculator fed by a world, checked after each step."""

    def __init__(self, policy):
        self.world, self.names, self.state, self.rules = World(), Names(), State(1), Rules(policy)
        self.ledger = self.commit()
        self.highest = Counter()
        self.late = None

    def commit(self):
        return pack(to_document(self.state, "paper", "boot"))

    def step(self, step):
        self.world.run(step["seconds"], {who: use * step["seconds"] for who, use in step["use"].items()})
        if step["metadata"]:
            self.names.take_metadata(self.world.metadata(CGROUPS))
        if step["activity"] != "lost":
            frame = self.world.activity()
            for _time in range(2 if step["activity"] == "repeated" else 1):
                self.state.take_activity(frame, self.names)
        self.read_meters(step["power"])
        for process in step["ends"]:
            self.world.end(process)
        if self.state.attribute(self.rules):
            self.ledger = self.commit()
            self.check()  # what the world sees: only what was committed
        if step["event"] == "probe begins anew":
            self.world.restart_probe()
        elif step["event"] == "calculator killed":
            self.state = from_document(unpack(self.ledger, LedgerDocument))
            self.names = Names()

    def read_meters(self, how):
        if self.late is not None:
            self.state.take_power(self.late, self.rules)
        reading = self.world.power(("package", "dram"))
        self.late = reading if how == "late" else None
        if how == "sent":
            self.state.take_power(reading, self.rules)

    def settle(self):
        """Two quiet ticks with all streams well."""
        for _tick in range(2):
            self.step(
                {
                    "seconds": 1.0,
                    "use": {},
                    "activity": "sent",
                    "power": "sent",
                    "metadata": True,
                    "ends": [],
                    "event": None,
                }
            )

    def by_container(self, column):
        """Energy of listed processes in the first zone."""
        processes = energy_tables(self.state, self.rules)["processes"]
        ids = energy_tables(self.state, self.rules)["containers"].container_id
        found = Counter()
        for row, energy_uj in zip(processes.container_row, getattr(processes, column)[0], strict=True):
            found[ids[row]] += energy_uj
        return found

    def check(self):
        tables = energy_tables(self.state, self.rules)
        containers, processes, unattributed = (
            tables["containers"],
            tables["processes"],
            tables["unattributed"],
        )
        for zone in range(len(tables["zones"])):
            given_uj = sum(containers.dynamic_uj[zone]) + sum(containers.idle_uj[zone])
            left_uj = sum(
                uj
                for row, uj in zip(unattributed.zone_row, unattributed.energy_uj, strict=True)
                if row == zone
            )
            assert tables["zones"].measured_uj[zone] == given_uj + left_uj
            for row in range(len(containers)):
                mine = [n for n, owner in enumerate(processes.container_row) if owner == row]
                listed = sum(processes.dynamic_uj[zone][n] + processes.idle_uj[zone][n] for n in mine)
                departed = containers.departed_dynamic_uj[zone][row] + containers.departed_idle_uj[zone][row]
                total = containers.dynamic_uj[zone][row] + containers.idle_uj[zone][row]
                assert listed + departed == total
        self.check_nothing_fell(tables)

    def check_nothing_fell(self, tables):
        now = Counter()
        containers = tables["containers"]
        for row, name in enumerate(containers.container_id):
            now["cpu", name] = containers.cpu_ns[row]
            for zone in range(len(tables["zones"])):
                now["dynamic", name, zone] = containers.dynamic_uj[zone][row]
                now["idle", name, zone] = containers.idle_uj[zone][row]
        for zone in range(len(tables["zones"])):
            now["zone", zone] = tables["zones"].measured_uj[zone]
        rows = tables["unattributed"]
        for key in zip(rows.zone_row, rows.mode, rows.reason, strict=True):
            now["unattributed", *key] = 0
        for *key, energy_uj in zip(rows.zone_row, rows.mode, rows.reason, rows.energy_uj, strict=True):
            now["unattributed", *key] += energy_uj
        for name, value in self.highest.items():
            assert now[name] >= value, name
        self.highest = now


@settings(max_examples=300, deadline=None)
@given(steps, st.sampled_from(["node", "even"]))
def test_books_close_and_nothing_falls(timeline, policy):
    """Always measured = Σ containers + unattributed, container = Σ processes + departed, no fall."""
    run = Run(policy)
    for step in timeline:
        run.step(step)
    run.settle()


@settings(max_examples=200, deadline=None)
@given(steps, st.sampled_from(["node", "even"]))
def test_all_that_the_meter_counted_arrives(timeline, policy):
    """Lost, late and repeated frames, restarts of anybody: the zone's total is the meter's, exactly."""
    run = Run(policy)
    for step in timeline:
        run.step(step)
    run.settle()
    for zone in run.state.zones.zones.values():
        assert zone.meter.watermark_ns == run.world.now_ns
        assert zone.measured_uj == run.world.energy_uj // (zone.number + 1)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_with_the_probe_alive_nothing_is_left_over(timeline):
    """While the probe's counters go on, all dynamic energy reaches somebody, if anybody ran."""
    run = Run("node")
    everybody = dict.fromkeys(PROCESSES, 0.05)
    for step in timeline:
        run.step(step | {"event": None, "use": everybody})
    run.settle()
    reasons = {(mode, reason) for (_zone, mode, reason) in run.state.accounts.unattributed_uj}
    # The two settling ticks in which nobody runs have nobody to give to.
    assert reasons <= {("idle", "idle_policy"), ("dynamic", "no_activity")}
    left_uj = run.state.accounts.unattributed_uj.get((0, "dynamic", "no_activity"), 0)
    assert left_uj <= 2 * run.world.idle_w * 1_000_000


def test_energy_goes_by_use():
    """Two containers at 3 : 1 of the CPU get dynamic energy 3 : 1, and an idle one gets none."""
    run = Run("node")
    for _tick in range(10):
        run.step(
            {
                "seconds": 1.0,
                "use": {PROCESSES[3]: 0.75, PROCESSES[9]: 0.25},
                "activity": "sent",
                "power": "sent",
                "metadata": True,
                "ends": [],
                "event": None,
            }
        )
    rows = run.by_container("dynamic_uj")
    first, second = CONTAINER[2], CONTAINER[4]
    assert abs(rows[first] - 3 * rows[second]) <= 4 * 10
    assert rows[second] > 0


def test_even_gives_every_container_alike():
    """Under `even`, containers share idle energy alike however many processes they have."""
    run = Run("even")
    for _tick in range(5):
        run.step(
            {
                "seconds": 1.0,
                "use": {PROCESSES[3]: 0.1, PROCESSES[4]: 0.1, PROCESSES[5]: 0.1, PROCESSES[9]: 0.9},
                "activity": "sent",
                "power": "sent",
                "metadata": True,
                "ends": [],
                "event": None,
            }
        )
    idle = run.by_container("idle_uj")
    assert idle[CONTAINER[2]] > 0
    assert abs(idle[CONTAINER[2]] - idle[CONTAINER[4]]) <= 5


def test_a_slow_meter_delays_nobody_and_covers_its_own_window():
    """A zone read once in ten seconds is attributed over these ten; one read each second isn't held up."""
    run = Run("node")
    names, world, state = run.names, run.world, run.state
    names.take_metadata(world.metadata(CGROUPS))
    for tick in range(1, 21):
        world.run(1, {PROCESSES[3]: 0.5 if tick <= 10 else 0.0, PROCESSES[9]: 0.5})
        state.take_activity(world.activity(), names)
        state.take_power(world.power(("package", "dram") if tick % 10 == 0 else ("package",)), run.rules)
        state.attribute(run.rules)
        fast = state.zones.zones["package", "0", "rapl-sysfs"]
        assert fast.meter.watermark_ns == world.now_ns
    slow = state.zones.zones["dram", "0", "rapl-sysfs"]
    assert slow.meter.watermark_ns == world.now_ns
    row, other = (state.rows.account_of[process] for process in (PROCESSES[3], PROCESSES[9]))
    slow_uj = state.accounts.dynamic_uj[slow.number]
    assert 0 < slow_uj[row] < slow_uj[other]


def test_a_cgroup_named_late_takes_nothing_back():
    """Energy booked before metadata knew a cgroup stays where it was; what follows goes to the container."""
    run = Run("node")
    quiet = {
        "seconds": 1.0,
        "use": {PROCESSES[3]: 0.5},
        "activity": "sent",
        "power": "sent",
        "ends": [],
        "event": None,
    }
    for _tick in range(3):
        run.step(quiet | {"metadata": False})
    unnamed_ns = run.highest["cpu", "unknown_processes"]
    for _tick in range(3):
        run.step(quiet | {"metadata": True})
    assert unnamed_ns == 1_500_000_000
    assert run.highest["cpu", "unknown_processes"] == unnamed_ns
    assert run.highest["cpu", CONTAINER[2]] == 1_500_000_000


def test_what_was_read_before_a_new_power_epoch_is_not_lost():
    """Readings that no activity has met when power begins anew are booked, as a gap of power."""
    run = Run("node")
    names, world, state = run.names, run.world, run.state
    names.take_metadata(world.metadata(CGROUPS))
    for _tick in range(2):
        world.run(1, {PROCESSES[3]: 0.5})
        state.take_activity(world.activity(), names)
        state.take_power(world.power(), run.rules)
        state.attribute(run.rules)
    for _tick in range(5):  # the probe is away
        world.run(1, {PROCESSES[3]: 0.5})
        state.take_power(world.power(), run.rules)
    read_uj = world.energy_uj
    world.power_epoch, world.energy_uj = world.now_ns, 0
    for _tick in range(2):
        world.run(1, {PROCESSES[3]: 0.5})
        state.take_activity(world.activity(), names)
        state.take_power(world.power(), run.rules)
        state.attribute(run.rules)
    zone = state.zones.zones["package", "0", "rapl-sysfs"]
    assert zone.measured_uj == read_uj + world.energy_uj
    assert state.accounts.unattributed_uj[0, "dynamic", "power_gap"] > 0
    run.check()


def test_a_silent_zone_does_not_keep_every_process_in_mind():
    """Windows that wait for a meter which has gone hold a bounded number of users."""
    run = Run("node")
    names, world, state = run.names, run.world, run.state
    names.take_metadata(world.metadata(CGROUPS))
    world.run(1, {PROCESSES[3]: 0.5})
    state.take_activity(world.activity(), names)
    state.take_power(world.power(("package", "dram")), run.rules)
    for number in range(400):
        short = (2, 1000 + number, 7)
        world.run(1, {PROCESSES[3]: 0.1, short: 0.1})
        state.take_activity(world.activity(), names)
        state.take_power(world.power(), run.rules)
        state.attribute(run.rules)
        world.end(short)
    assert sum(len(window.accounts) for window in state.timeline.windows) < 200
    assert state.accounts.capacity < 1024
