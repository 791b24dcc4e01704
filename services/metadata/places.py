# SPDX-License-Identifier: Apache-2.0
"""The table of cgroup paths: which ones are containers, systems and virtual machines of which runtime. Pure.

Paths are as the kernel shows them below the cgroup2 mount; place_pattern.py explains the patterns. The first
pattern that fits a component counts. Sources: the runtimes' documentation of their cgroups, and public bug
reports of tools that read them.

An id without a unique part gets its runtime in front: `lxc/web` and Slurm's job 12 are `lxc-web` and
`slurm-12`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .place_pattern import Pattern, parse

# (runtime, pattern). systemd's driver writes NAME-ID.scope, the cgroupfs driver plain directories. conmon's
# own scopes (crio-conmon-, libpod-conmon-) are host processes and match nothing here.
CONTAINERS: tuple[tuple[str, str], ...] = (
    ("docker", "docker-{hex64}.scope"),
    ("docker", "docker/{hex64}"),
    ("containerd", "cri-containerd-{hex64}.scope"),
    ("containerd", "cri-containerd/{hex64}"),
    ("containerd", "nerdctl-{hex64}.scope"),
    ("containerd", "/default/{hex64}"),  # containerd's namespace is the parent: nerdctl, ctr
    ("containerd", "/k8s.io/{hex64}"),
    ("crio", "crio-{hex64}.scope"),
    ("crio", "crio-{hex64}"),
    ("crio", "crio/{hex64}"),
    ("podman", "libpod-{hex64}.scope"),
    ("podman", "libpod-{hex64}"),
    ("podman", "libpod-payload-{hex64}"),
    ("kata", "kata_{hex64}"),
    ("kata", "kata_overhead/{hex64}"),
    ("kubernetes", "{pod}/{hex64}"),  # the path shows only the kubelet's hand
    ("ecs", "/ecs/*/{hex64}"),  # task
    ("ecs", "/ecs/*/*/{hex64}"),  # cluster and task
    ("ecs", "/ecs/*/{hex32}-{number}"),  # Fargate
    ("oci", "{hex64}"),  # wherever it stands (--cgroup-parent): the path doesn't show which runtime
    ("slurm", "slurmstepd.scope/job_{number}"),
    ("slurm", "*_slurmstepd.scope/job_{number}"),  # several slurmd on one host
    ("slurm", "/slurm/uid_*/job_{number}"),
    ("slurm", "/slurm_*/uid_*/job_{number}"),
    ("nomad", "nomad.slice/{uuid}.{name}.scope"),
    ("nomad", "nomad.slice/*/{uuid}.{name}.scope"),
    ("buildkit", "buildkit/{id25}"),
    ("buildkit", "docker-{id25}.scope"),
    ("garden", "garden/{uuid}"),
    ("garden", "/{uuid}"),
)
# Likewise; these run an init of their own, so that all below is theirs, systemd's units and containers too.
SYSTEMS: tuple[tuple[str, str], ...] = (
    ("lxc", "lxc.payload.{name}"),  # LXC 4 and newer, LXD, Incus
    ("lxc", "lxc.payload/{name}"),
    ("lxc", "/lxc/{name}"),  # older; Proxmox by number
    ("libvirt-lxc", "machine{dash}lxc{dash}{digits}{dash}{name}.scope"),
    ("libvirt-lxc", "lxc-{digits}-{name}.libvirt-lxc"),
    ("nspawn", "systemd-nspawn@{name}.service"),
    ("nspawn", "/machine.slice/machine-{name}.scope"),
    ("openvz", "/machine.slice/{number}"),
)
# (what stands before the id in its name, pattern). libvirt's guests have the names that Kepler v0.8 gives
# them: machine-qemu-NUMBER-NAME. The number is libvirt's, and new at each start; old versions of libvirt give
# none. Everything below a guest's cgroup (libvirt, emulator, vcpu0, iothread1) belongs to it.
MACHINES: tuple[tuple[str, str], ...] = (
    ("machine-qemu-", "machine{dash}qemu{dash}{name}.scope"),  # where systemd-machined registers it
    ("machine-qemu-", "qemu-{number}-{name}.libvirt-qemu"),
    ("machine-qemu-", "{name}.libvirt-qemu"),
    ("qemu-", "/qemu.slice/{number}.scope"),  # Proxmox
)


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the table. `before_id`: what stands before an id that is not unique by itself."""

    runtime: str
    pattern: Pattern
    before_id: str
    is_system: bool = False


class Found(NamedTuple):
    """A container or machine that a component names. `name` is empty where the path has only an id."""

    id: str
    name: str
    runtime: str
    has_hex: bool
    is_system: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind, and what tells at once that none fits, as for nearly every component.

    `last`: any of their last components; `parents`: of those rows whose last component may be anything, the
    one above.
    """

    places: tuple[Place, ...]
    last: re.Pattern[str]
    parents: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Places:
    """The table, compiled. Patterns that a setting adds come first."""

    containers: Rows
    machines: Rows

    def container(self, parts: Sequence[str], depth: int) -> Found | None:
        """The container whose own cgroup `parts[depth]` is; None if it is none's."""
        return _first(self.containers, parts, depth)

    def machine(self, parts: Sequence[str], depth: int) -> Found | None:
        """The virtual machine whose own cgroup `parts[depth]` is; None if it is none's."""
        return _first(self.machines, parts, depth)


def _first(rows: Rows, parts: Sequence[str], depth: int) -> Found | None:
    above = parts[depth - 1] if depth else ""
    if rows.last.fullmatch(parts[depth]) is None and rows.parents.fullmatch(above) is None:
        return None
    for place in rows.places:
        found = place.pattern.find(parts, depth)
        if found is not None:
            before = "" if place.pattern.is_unique else place.before_id
            return Found(before + found[0], found[1], place.runtime, place.pattern.has_hex, place.is_system)
    return None


def compiled(added: Iterable[tuple[str, str]] = ()) -> Places:
    """The table with added (runtime, pattern) rows. Raises ValueError for a pattern that is none."""
    containers = [Place(runtime, parse(text), f"{runtime}-") for runtime, text in (*added, *CONTAINERS)]
    systems = [Place(runtime, parse(text), f"{runtime}-", is_system=True) for runtime, text in SYSTEMS]
    machines = [Place("qemu", parse(text), before) for before, text in MACHINES]
    return Places(_rows([*containers, *systems]), _rows(machines))


def _rows(places: Sequence[Place]) -> Rows:
    patterns = [place.pattern for place in places]
    last = [pattern.expression for pattern in patterns if not pattern.any_name]
    parents = [pattern.parents[-1].pattern for pattern in patterns if pattern.any_name]
    return Rows(tuple(places), _any_of(last), _any_of(parents))


def _any_of(expressions: Iterable[str]) -> re.Pattern[str]:
    """Matches what any expression matches; nothing if there is none."""
    return re.compile("|".join(dict.fromkeys(expressions)) or "(?!)", re.DOTALL)


BUILT_IN = compiled()
