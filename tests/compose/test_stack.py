# SPDX-License-Identifier: Apache-2.0
"""Wattline as Compose starts it: from a clean checkout to nothing left, in the order of this file."""

import os
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.load import SPIN, KernelAccount, in_cgroup, steal_ns
from tests.pipeline.books import check_books
from wattline.cgroup2 import find_mount
from wattline.pipeline import SERVICES

from . import cgroup_use, privileges, programs
from .bmc import Bmc
from .checks import (
    Watch,
    beside,
    change_source,
    check_nothing_is_lost,
    down_leaves_nothing,
    joules,
    names_on_request,
    update,
    value,
)
from .engine import Engine
from .stack import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
_AWAY_S = 3
_WATCHED_S = 30


@pytest.fixture(scope="module")
def stack(request):
    with Engine() as engine, Stack(engine) as stack:
        yield stack
        if request.session.testsfailed:
            print(stack.compose("logs", "--no-color", check=False))


def test_one_command_from_a_clean_checkout(stack):
    """Compose builds and starts all five; joules rise; each container says that it is healthy.

    Whatever the cgroup namespace: nothing of the host is hidden from the probe.
    """
    begun_s = time.monotonic()
    stack.compose("build")
    built_s = time.monotonic()
    stack.compose("up", "--detach")
    first = wait_until("joules", lambda: joules(stack.scrape()))
    wait_until("rising joules", lambda: joules(stack.scrape()) > first)
    rising_s = time.monotonic()

    def states():
        return {service: stack.inspect(service)["State"]["Health"]["Status"] for service in SERVICES}

    wait_until("healthy", lambda: set(states().values()) == {"healthy"}, 180)
    healthy_s = time.monotonic()
    check_books(stack.scrape())
    print(
        f"built in {built_s - begun_s:.0f} s, joules rise {rising_s - built_s:.1f} s after `up`, "
        f"all healthy after {healthy_s - built_s:.1f} s"
    )
    sources = {one.labels["source"]: one.value for one in stack.scrape() if one.name == "wattline_source_up"}
    assert {"ebpf", "rapl-sysfs", "cgroup2"} <= set(sources)
    assert set(sources.values()) == {1}, sources


def test_images_are_small_and_hold_no_shell(stack):
    """Python and one service, one first layer for all; of BCC and numpy each where it belongs."""
    layers = {}
    for service in SERVICES:
        image = stack.inspect(service)["Image"]
        size, first = stack.engine.docker(
            "image", "inspect", image, "--format", "{{.Size}} {{index .RootFS.Layers 0}}"
        ).split()
        layers[service] = (int(size), first)
        found = stack.python(service, _LOOK).split()
        assert found == [_HAS[service]] if service in _HAS else not found, (service, found)
    print({service: f"{size / 1e6:.0f} MB" for service, (size, _first) in layers.items()})
    assert len({first for _size, first in layers.values()}) == 1
    assert max(size for service, (size, _first) in layers.items() if service not in _HAS) < 80e6
    assert max(size for size, _first in layers.values()) < 320e6


_HAS = {"probe": "bcc", "calculator": "numpy", "exporter": "prometheus_client"}
_LOOK = """
import importlib.util, os
for name in ("bcc", "numpy", "prometheus_client", "pip", "setuptools"):
    if importlib.util.find_spec(name): print(name)
for directory in ("/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"):
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if not name.startswith("python") and name != "wattline": print(directory + "/" + name)
"""


def test_who_holds_which_privilege(stack):
    """The page's table is what the kernel says of the five."""
    privileges.check({service: stack.pid(service) for service in SERVICES})


def test_each_has_its_own_filter(stack):
    """Beside Docker's filter of system calls there is the service's own."""
    filters = {service: privileges.filters(stack.pid(service)) for service in SERVICES}
    assert min(filters.values()) > 1, filters
    assert "no_seccomp" not in stack.compose("logs", "--no-color")


def test_nobody_writes_into_anothers_directory(stack):
    """Of all pairs; nor into its own image or the cgroup tree.

    The probe, as root, owns the place where all meet and could take a directory away: never give one a
    name that is believed (tests/wire/test_rundir.py).
    """
    for service in SERVICES:
        assert stack.python(service, _TRY.replace("SERVICE", service)).split() == ["own"], service
    assert {path.name: path.stat().st_uid for path in stack.run.iterdir()} == {
        service: 60600 + place if place else 0 for place, service in enumerate(SERVICES)
    }


_TRY = """
import os
run = "/run/wattline"
def attempt(what, act, *arguments):
    try: act(*arguments)
    except OSError: return
    print(what)
def make(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.unlink(path)
for name in os.listdir(run):
    attempt("own" if name == "SERVICE" else name, make, f"{run}/{name}/attempt")
    if name != "SERVICE":
        if os.getuid(): attempt("renamed", os.rename, f"{run}/{name}", f"{run}/mine")
        attempt("removed", os.unlink, f"{run}/{name}/last")
        attempt("changed", os.open, f"{run}/{name}/last", os.O_WRONLY)
for path in ("/attempt", "/usr/bin/attempt", "/tmp/attempt", "/sys/fs/cgroup/attempt", "/etc/hostname"):
    attempt(path, make, path)
attempt("cgroup", os.mkdir, "/sys/fs/cgroup/attempt")
"""


def test_a_container_beside_it_gets_its_time_and_its_energy(stack, cgroup):
    """A CPU-bound container: the kernel's account within 0.5 %, and its part of the dynamic energy.

    On a CPU without the other load, for the kernel charges part of each change of tasks differently.
    """
    cpus = sorted(os.sched_getaffinity(0))
    name = "kepler_container_bpf_cpu_time_ms_total"
    script = "i=0; while [ $i -lt 8000000 ]; do i=$((i+1)); done; exec sleep 3600"
    before, stolen_before_ns = stack.scrape(), steal_ns()
    with (
        beside(stack, script, "--cpuset-cpus", str(cpus[0])) as container_id,
        in_cgroup(
            cgroup,
            ["taskset", "-c", str(cpus[-1]), sys.executable, "-c", SPIN, "3"],
            stdin=-1,
            stdout=-1,
        ),
    ):
        ours_ms, earlier_ms = Decimal(0), Decimal(-1)
        while ours_ms != earlier_ms or not ours_ms:
            earlier_ms = ours_ms
            time.sleep(3)  # until it has stood still
            series = stack.scrape()
            ours_ms = value(series, name, container_id=container_id)
        kernel = KernelAccount(
            find_mount(Path("/proc")) / stack.engine.cgroup / container_id, stolen_before_ns
        )
        agrees = kernel.agrees(int(ours_ms * 1_000_000), 0.005)
    check_books(series)

    def gained(family, **labels):
        return value(series, family, **labels) - value(before, family, **labels)

    own = gained("kepler_container_package_joules_total", mode="dynamic", container_id=container_id)
    dynamic = gained("kepler_container_package_joules_total", mode="dynamic")
    time_share, energy_share = float(ours_ms / gained(name)), float(own / dynamic)
    print(f"{time_share:.1%} of all CPU time; {own} of {dynamic} J dynamic, {energy_share:.1%}")
    assert agrees
    assert ours_ms > 1000
    assert abs(energy_share - time_share) < 0.05


def test_names_on_request(stack):
    """Docker's names of its containers, by a second file."""
    names_on_request(stack)


@pytest.fixture
def busy(stack, cgroup):
    """Something that uses energy meanwhile, on the host and in a container."""
    with (
        beside(stack, "while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.2; done"),
        in_cgroup(cgroup, ["sh", "-c", "while :; do sh -c :; sleep 0.1; done"]),
    ):
        yield


@pytest.mark.usefixtures("busy")
def test_a_kill_of_each_loses_nothing(stack):
    """docker kill -s KILL of each in turn, three seconds away, then `up` for that one."""
    watch = Watch(stack)
    before = watch.scrapes.next()
    before_it = programs.pinned(stack.pins / "wattline")
    for service in SERVICES:
        others = {name: stack.pid(name) for name in SERVICES if name != service}
        stack.engine.docker("kill", "--signal", "KILL", stack.container(service))
        watch.for_seconds(_AWAY_S)
        watch.while_running(stack.start_compose("up", "--detach", service))
        print(f"{service}: back after {watch.until_back(service):.1f} s")
        watch.for_seconds(2)
        assert others == {name: stack.pid(name) for name in others}
    assert programs.pinned(stack.pins / "wattline") == before_it  # the kernel has counted all the while
    check_nothing_is_lost(before, watch.scrapes.next())
    print(f"{watch.scrapes.count} scrapes, {watch.scrapes.distinct} different")


def test_one_that_dies_by_itself_is_started_again(stack):
    """The restart policy: a process that the kernel ends comes back without anybody's doing."""
    for service in ("calculator", "probe"):
        pid, since_ns = stack.pid(service), time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        wait_until(service, lambda s=service, p=pid: stack.is_replaced(s, p))
        wait_until(service, lambda s=service, n=since_ns: stack.has_published_since(s, n + 1_000_000_000))


@pytest.mark.usefixtures("busy")
def test_an_update_of_each_replaces_that_one_and_loses_nothing(stack):
    """Each in turn, under watch."""
    change_source(stack)
    watch = Watch(stack)
    before = watch.scrapes.next()
    for service in SERVICES:
        update(stack, watch, service)
    check_nothing_is_lost(before, watch.scrapes.next())
    print(f"{watch.scrapes.count} scrapes, {watch.scrapes.distinct} different")


def test_every_microjoule_of_the_meter_is_there(stack):
    """After all these kills and updates each zone has what the meter has counted."""
    stack.rapl.freeze()
    zones = {"package-0": "package", "package-0/core": "core", "package-0/dram": "dram"}
    missing = {}

    def has_all():
        series, truth = stack.scrape(), stack.rapl.log()
        found = {
            key: int(value(series, f"kepler_node_{zone}_joules_total") * 1_000_000)
            for key, zone in zones.items()
        }
        missing.update({key: truth[key]["energy_uj"] - found[key] for key in zones})
        return not any(missing.values()) and series

    try:
        check_books(wait_until("all that the meter counted", has_all))
    finally:
        print(f"missing of the meter's energy, in µJ: {missing}")


@pytest.mark.parametrize("interval_s", [1, 3])
def test_what_it_weighs(stack, interval_s):
    """Memory and CPU time of the five containers by the kernel's account, health checks included."""
    stack.settings["WATTLINE_INTERVAL_S"] = str(interval_s)
    stack.compose("up", "--detach")
    since_ns = time.monotonic_ns()
    for service in SERVICES:
        wait_until(service, lambda s=service: stack.has_published_since(s, since_ns + 3_000_000_000))
    time.sleep(5)  # what starting takes is not what running does
    pids = {service: stack.pid(service) for service in SERVICES}
    before = {service: cgroup_use.cpu_ns(pid) for service, pid in pids.items()}
    begun_s = time.monotonic()
    time.sleep(_WATCHED_S)
    used = {
        service: (cgroup_use.cpu_ns(pid) - before[service]) / 1e9 * 60 / (time.monotonic() - begun_s)
        for service, pid in pids.items()
    }
    memory = {service: cgroup_use.memory_bytes(pid) / 1e6 for service, pid in pids.items()}
    charged = {service: cgroup_use.charged_bytes(pid) / 1e6 for service, pid in pids.items()}
    print(f"every {interval_s} s: CPU s/min, MB, MB with the page cache of images")
    for service in SERVICES:
        print(f"| {service} | {used[service]:.2f} | {memory[service]:.1f} | {charged[service]:.1f} |")
    print(
        f"| together | {sum(used.values()):.2f} | {sum(memory.values()):.1f} | {sum(charged.values()):.1f} |"
    )
    assert sum(memory.values()) < 150
    assert sum(used.values()) < 12


def test_a_bmc_by_its_profile(stack):
    """The stream beside power, with the package for Redfish and nothing else that others lack."""
    with Bmc(stack) as bmc:
        wait_until("the BMC's joules", lambda: bmc.joules(stack.scrape()))
        first = bmc.joules(stack.scrape())
        wait_until("rising joules of the BMC", lambda: bmc.joules(stack.scrape()) > first)
        series = stack.scrape()
        check_books(series)
        assert value(series, "wattline_source_up", source="redfish") == 1
        privileges.check({bmc.SERVICE: stack.pid(bmc.SERVICE)})
        assert privileges.filters(stack.pid(bmc.SERVICE)) > 1
        assert stack.python(bmc.SERVICE, _LOOK).split() == []
        assert bmc.password_places() == []
        wait_until(
            "healthy", lambda: stack.inspect(bmc.SERVICE)["State"]["Health"]["Status"] == "healthy", 180
        )


def test_down_leaves_nothing(stack):
    """Though the probe was killed just before."""
    down_leaves_nothing(stack)
