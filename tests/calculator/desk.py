# SPDX-License-Identifier: Apache-2.0
"""A calculator fed with frames as its loop would, and looked at from outside: what the energy frame says."""

from collections import Counter

from services.calculator.energy_frame import energy_tables
from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.names import Names
from services.calculator.rules import Rules
from services.calculator.state import State
from wattline.wire.codec import pack, unpack
from wattline.wire.frames import UNMATCHED_UNIT, Activity, Metadata, Power
from wattline.wire.order import StreamOrder


class Desk:
    """Takes frames through the order that subscribers keep, commits before it shows, and can be killed."""

    def __init__(self, rules=None, show=None):
        self.rules = rules or Rules()
        self.show = show or (lambda _tables: None)
        self.windows = 0  # that some zone was attributed over
        self._begin(State(1))
        self.ledger = self.commit()

    def _begin(self, state):
        self.state, self.names, self.order = state, Names(), StreamOrder()

    def commit(self):
        return pack(to_document(self.state, "paper", "boot"))

    def take(self, frame):
        """A frame arrives; true if it changed what is shown, which is committed then."""
        if not self.order.admit(frame):
            return False
        if isinstance(frame, Metadata):
            self.names.take_metadata(frame)
        elif isinstance(frame, Activity):
            self.state.take_activity(frame, self.names)
        elif isinstance(frame, Power):
            assert self.state.take_power(frame, self.rules) == 0
        before_ns = self._watermarks_ns()
        advanced = self.state.attribute(self.rules)
        if advanced:
            after_ns = self._watermarks_ns()
            self.windows += sum(after_ns[name] > ns for name, ns in before_ns.items())
            self.state.fold_ended(self.rules)
            self.state.settle_names(self.names, frame.mono_ns)
            self.ledger = self.commit()
            self.show(self.tables())
        return advanced

    def _watermarks_ns(self):
        return {name: zone.meter.watermark_ns for name, zone in self.state.zones.zones.items()}

    def kill(self, *last):
        """Another calculator starts from the ledger and from each stream's last frame."""
        self._begin(from_document(unpack(self.ledger, LedgerDocument)))
        for frame in last:
            self.take(frame)

    def tables(self):
        return energy_tables(self.state, self.rules)

    def zone(self, zone, index="0"):
        return next(one for name, one in self.state.zones.zones.items() if name[:2] == (zone, index))

    def dynamic_uj(self, zone, index="0", by="container_id"):
        """A zone's dynamic energy by container (or pod, or machine), as published."""
        return self._sums("dynamic_uj", zone, index, by)

    def idle_uj(self, zone, index="0", by="container_id"):
        return self._sums("idle_uj", zone, index, by)

    def _sums(self, column, zone, index, by):
        containers = self.tables()["containers"]
        energies_uj = getattr(containers, column)[self.zone(zone, index).number]
        found = Counter()
        names = getattr(containers, by) or [""] * len(containers)
        for name, energy_uj in zip(names, energies_uj, strict=True):
            found[name] += energy_uj
        return found

    def left_uj(self, zone, index="0", mode="dynamic"):
        """What of a zone nobody was given, by reason."""
        number = self.zone(zone, index).number
        return {
            reason: energy_uj
            for (of, how, reason), energy_uj in self.state.accounts.unattributed_uj.items()
            if (of, how) == (number, mode)
        }


class Watch:
    """What must hold in every frame, and from one to the next."""

    def __init__(self):
        self.before = {}

    def check(self, tables):
        """The books close at every level to the microjoule, and nothing that is still shown fell."""
        now = Counter()
        for zone in range(len(tables["zones"])):
            self._check_zone(zone, tables, now)
        containers = tables["containers"]
        for row, cpu_ns in enumerate(containers.cpu_ns):
            self._add(now, containers, row, ("cpu_ns",), cpu_ns)
        for key, value in self.before.items():
            if key in now:
                assert now[key] >= value, key
            else:  # its series has ended
                assert key[0] in ("container", "pod", "vm", "unit"), key
                assert key[1] not in ("other", UNMATCHED_UNIT), key
        self.before = now

    def _check_zone(self, zone, tables, now):
        zones, containers, unattributed = (tables[name] for name in ("zones", "containers", "unattributed"))
        left_uj = 0
        for row, mode, reason, energy_uj in zip(
            unattributed.zone_row,
            unattributed.mode,
            unattributed.reason,
            unattributed.energy_uj,
            strict=True,
        ):
            if row == zone:
                now["unattributed", zone, mode, reason] += energy_uj
                left_uj += energy_uj
        given_uj = sum(containers.dynamic_uj[zone]) + sum(containers.idle_uj[zone])
        assert zones.measured_uj[zone] == given_uj + left_uj
        assert zones.idle_uj[zone] <= zones.measured_uj[zone]
        now["zone", zone] = zones.measured_uj[zone]
        now["gaps", zone] = zones.gaps[zone]
        for mode in ("dynamic_uj", "idle_uj"):
            listed = Counter()
            processes = tables["processes"]
            for row, energy_uj in zip(processes.container_row, getattr(processes, mode)[zone], strict=True):
                listed[row] += energy_uj
            departed = getattr(containers, f"departed_{mode}")[zone]
            for row, energy_uj in enumerate(getattr(containers, mode)[zone]):
                assert energy_uj == listed[row] + departed[row]
                self._add(now, containers, row, (mode, zone), energy_uj)

    @staticmethod
    def _add(now, containers, row, what, amount):
        """A row counts for its container, its pod, its machine, its unit and the node."""
        if containers.container_id[row] == "system_processes":
            now["unit", (containers.unit[row] if containers.unit else "") or "other", *what] += amount
        vm_ids = containers.vm_id or [""] * len(containers)
        now["container", containers.container_id[row], *what] += amount
        if containers.pod_uid[row]:
            now["pod", containers.pod_uid[row], *what] += amount
        if vm_ids[row]:
            now["vm", vm_ids[row], *what] += amount
        now["node", *what] += amount
