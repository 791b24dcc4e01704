# SPDX-License-Identifier: Apache-2.0
"""Real QEMU guests under load: each one's CPU time and joules, by its id and name."""

import contextlib
import os
import secrets
import signal
import time
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

from tests.load import KernelAccount, start_ticks, steal_ns
from tests.machine.guest import boot_image, spinning
from tests.machine.simulated_rapl import IDLE_POWER, SimulatedRapl
from wattline.cgroup2 import whole_mount
from wattline.selftest.cgroups import made
from wattline.wire.bus import read_last
from wattline.wire.rundir import ServiceDirectory

from .books import check_books
from .pipeline import Pipeline

pytestmark = pytest.mark.e2e

OWN = f"{os.getpid()}{secrets.randbelow(10**6):06d}"  # in each name: there may be others of such names
CONTAINER_ID = secrets.token_hex(32)
USER = 60999
USED_NS = 1_000_000_000  # by each guest
# For a moment the process in a guest's cgroup was Python's; if a frame shows it then, that isn't the guest's.
BEFORE_QEMU_NS = 50_000_000
CPU_TIME = "kepler_vm_bpf_cpu_time_ms_total"
JOULES = "kepler_vm_package_joules_total"
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


def value(series, name, **labels):
    """The sum of the series that have these labels."""
    return sum(
        one.value
        for one in series
        if one.name == name and all(one.labels.get(key) == wanted for key, wanted in labels.items())
    )


def at_rest(pipeline, machines):
    """The first scrape in which no machine's CPU time changes any more, and all have some."""

    def times(series):
        return [value(series, CPU_TIME, vm_id=machine) for machine in machines]

    before = None
    for _scrape in range(20):
        series = pipeline.scrape()
        if times(series) == before and all(before):
            return series
        before = times(series)
        time.sleep(1.5)  # the exporter changes once a second
    raise AssertionError(f"CPU times of {[*machines]} did not come to rest: {before}")


def metadata(pipeline):
    return read_last(ServiceDirectory(pipeline.run, "metadata"))


def rows(frame):
    """Name, uuid and hypervisor by machine."""
    table = frame.machines
    columns = zip(table.vm_name, table.uuid, table.hypervisor, strict=True)
    return dict(zip(table.vm_id, columns, strict=True))


def test_guests_have_their_energy_and_their_names(run_directory, pin_path, tmp_path, readable_directory):
    """libvirt's guest by its cgroup, bare ones by their processes; one uuid four times is four machines.

    CPU time is the kernel's for the guest's cgroup, joules go with it, and the books close. After a restart
    of metadata, and the end of the machine that had the uuid first, every id and name is what it was.
    """
    image = boot_image(readable_directory / "boot.img")
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    mount = whole_mount(Path("/proc"))
    with (
        SimulatedRapl(tmp_path / "sys") as rapl,
        Pipeline(
            run_directory, pin_path, interval_s="0.5", path_sysfs=str(rapl.sysfs), idle_power=IDLE_POWER
        ) as pipeline,
        contextlib.ExitStack() as stack,
    ):
        pipeline.wait_ready()
        before, stolen_before_ns = pipeline.scrape(), steal_ns()

        def start(path, *arguments, as_user=()):
            cgroup = stack.enter_context(made(mount / path))
            qemu = stack.enter_context(spinning(cgroup.path, image, *arguments, before=as_user))
            return cgroup, qemu

        scope = f"machine.slice/machine-qemu\\x2d{OWN}\\x2dweb.scope"
        web, _ = start(f"{scope}/libvirt/emulator", "-name", "guest=web,debug-threads=on", "-uuid", first)
        bare, bare_qemu = start(f"wattline-test-{OWN}/bare", "-name", "db", "-uuid", second)
        twin, twin_qemu = start(f"wattline-test-{OWN}/twin", "-name", "twin", "-uuid", second)
        users, _ = start(f"wattline-test-{OWN}/user", "-name", "db", "-uuid", second, as_user=AS_USER)
        inside, inside_qemu = start(f"wattline-test-{OWN}/{CONTAINER_ID}", "-name", "in", "-uuid", second)
        cgroups = {
            f"machine-qemu-{OWN}-web": web,
            f"qemu-{second}": bare,
            f"qemu-{twin_qemu.pid}.{start_ticks(twin_qemu.pid)}": twin,
            f"qemu-{second}@{USER}": users,
            f"qemu-{inside_qemu.pid}.{start_ticks(inside_qemu.pid)}": inside,
        }
        names = ["web", "db", "twin", "db", "in"]
        uuids = [first, second, second, second, second]
        expected = dict(zip(cgroups, [*zip(names, uuids, ["qemu"] * 5, strict=True)], strict=True))
        pipeline.wait_until(lambda: all(one.cpu_ns() > USED_NS for one in cgroups.values()), 60)
        for cgroup in cgroups.values():
            cgroup.freeze(frozen=True)
        series = at_rest(pipeline, cgroups)
        check_books(series)
        assert {machine: row for machine, row in rows(metadata(pipeline)).items() if machine in expected} == (
            expected
        )

        all_ms = value(series, "kepler_container_bpf_cpu_time_ms_total") - value(
            before, "kepler_container_bpf_cpu_time_ms_total"
        )
        all_joules = value(series, "kepler_container_package_joules_total", mode="dynamic") - value(
            before, "kepler_container_package_joules_total", mode="dynamic"
        )
        for machine, cgroup in cgroups.items():
            cpu_ms = value(series, CPU_TIME, vm_id=machine)
            joules = value(series, JOULES, vm_id=machine, mode="dynamic")
            print(f"{machine}: {cpu_ms} of {all_ms} ms, {joules} of {all_joules} J")
            account = KernelAccount(cgroup.path, stolen_before_ns)
            assert account.agrees(int(cpu_ms * 1_000_000), 0.02, BEFORE_QEMU_NS), machine
            assert abs(float(joules / all_joules) - float(cpu_ms / all_ms)) < 0.05
        in_container = f"qemu-{inside_qemu.pid}.{start_ticks(inside_qemu.pid)}"
        of_guest = value(series, JOULES, vm_id=in_container)
        of_container = value(series, "kepler_container_package_joules_total", container_id=CONTAINER_ID)
        assert Decimal("0.95") * of_container < of_guest <= of_container

        bare_qemu.kill()
        bare.freeze(frozen=False)
        bare_qemu.wait()
        old = metadata(pipeline)
        os.kill(pipeline.pid("metadata"), signal.SIGKILL)
        new = pipeline.wait_until(
            lambda: frame if (frame := metadata(pipeline)).run != old.run and frame.covers_mono_ns else None
        )
        # The probe lists the ended one for some frames more, and its last energy is to be attributed.
        ended, by_cgroup = f"qemu-{second}", f"machine-qemu-{OWN}-web"
        living = [machine for machine in expected if machine != ended]
        assert {**rows(new), ended: expected[ended]} == expected
        assert {*new.processes.vm_id} | {ended, by_cgroup} == {*expected, ""}
        series = at_rest(pipeline, living)
        check_books(series)
