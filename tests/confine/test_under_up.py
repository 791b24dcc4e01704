# SPDX-License-Identifier: Apache-2.0
"""What each process of `wattline up` holds, against docs/security.md. Run as root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine.simulated_rapl import SimulatedRapl
from tests.packaging.page import rows
from tests.pipeline.pipeline import Pipeline
from wattline.cli.as_user import as_user
from wattline.cli.readable_copy import code_for
from wattline.pipeline import SERVICES
from wattline.readable import obstacle

from .processes import held, threads

_USER = 60_999
_AS_USER = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--inh-caps=-all")


def test_the_page_says_what_the_kernel_says(run_directory, pin_path):
    """User, capabilities, bounding set, no new privileges and filter of each stage, in all of its threads."""
    page = {process: cells for process, *cells in rows("up")}
    with Pipeline(run_directory, pin_path, probe_counters="", interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        found = {service: held(pid) for service, pid in pipeline.pids().items()}
        thread_counts = {service: len(threads(pid)) for service, pid in pipeline.pids().items()}
    assert [*page] == ["up", *SERVICES]
    told = {service: page[service][:5] for service in SERVICES}
    assert told["exporter"].pop() == "filtered, with network"
    assert found["exporter"].pop() == "filtered"
    assert found == told
    assert min(thread_counts.values()) > 1  # ZeroMQ's are among them


def test_counters_are_the_one_exception(run_directory, pin_path):
    """With hardware counters, the probe keeps CAP_PERFMON."""
    with Pipeline(run_directory, pin_path, probe_counters="cpu_clock", interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        probe = held(pipeline.pid("probe"))
    assert probe[1:] == ["`CAP_PERFMON` `CAP_BPF`", "empty", "yes", "filtered"]


def test_without_ebpf_the_probe_holds_nothing(run_directory, pin_path):
    """Reading /proc takes no capability."""
    with Pipeline(run_directory, pin_path, probe_backend="procfs", interval_s="0.2") as pipeline:
        pipeline.wait_ready()
        probe = held(pipeline.pid("probe"))
    assert probe == ["0:60600", "none", "empty", "yes", "filtered"]


def test_power_reads_a_meter_that_only_root_may(run_directory, pin_path, tmp_path):
    """As a user that can't enter the meter's directory, by CAP_DAC_READ_SEARCH."""
    with SimulatedRapl(tmp_path / "sys") as rapl:  # pytest's directory has mode 0700
        energy = next((rapl.sysfs / "class/powercap").glob("intel-rapl:*/energy_uj"))
        assert "has to be entered" in as_user(60601, 60600, lambda: obstacle([str(energy)]))
        settings = {"path_sysfs": str(rapl.sysfs), "interval_s": "0.2"}
        with Pipeline(run_directory, pin_path, **settings) as pipeline:
            pipeline.wait_ready()
            pipeline.wait_until(lambda: pipeline.said(r"power .*source=rapl-sysfs"))
            assert held(pipeline.pid("power"))[:2] == ["60601:60600", "`CAP_DAC_READ_SEARCH`"]
        assert not pipeline.said(r"unreadable|not permitted|denied")


def test_nothing_that_a_stage_does_is_denied(run_directory, pin_path):
    """An ordinary run with scrapes and a page logs no error and no missing filter."""
    with Pipeline(run_directory, pin_path, interval_s="0.1") as pipeline:
        pipeline.wait_ready()
        for path in ("/", "/metrics", "/-/healthy"):
            pipeline.fetch(path)
    assert not pipeline.said(r"unexpected|no_seccomp|not permitted")


@pytest.mark.parametrize(("port", "expected"), [(80, "`CAP_NET_BIND_SERVICE`"), (28283, "none")])
def test_a_privileged_port_costs_one_capability(run_directory, pin_path, port, expected):
    """The exporter keeps what it needs to listen there, and does listen. In a network of its own."""
    command = ("unshare", "--net", sys.executable, "-m", "wattline.cli")
    flags = (f"--web.listen-address=127.0.0.1:{port}", "--interval-s=0.2")
    with Pipeline(run_directory, pin_path, flags, command=command) as pipeline:
        pipeline.wait_until(lambda: pipeline.said(rf"exporter .*listening address=127.0.0.1:{port}"))
        assert held(pipeline.pid("exporter"))[1] == expected


def test_an_ordinary_users_stages_are_confined_too(run_directory, readable_directory, pin_path):
    """No capability, no new privileges, filtered; the bounding set stays, as only root may reduce it."""
    code = code_for(_USER, _USER, print, readable_directory / "code")
    os.chown(run_directory, _USER, _USER)
    command = (*_AS_USER, *code.command("wattline.cli"))
    unstarted = Pipeline(run_directory, pin_path, command=command, interval_s="0.2")
    # An interpreter that was copied may look for its library where this user can't.
    unstarted.environment["LD_LIBRARY_PATH"] = str(Path(code.python).parents[1] / "lib")
    with unstarted as pipeline:
        pipeline.wait_ready()
        found = {service: held(pid) for service, pid in pipeline.pids().items()}
    for cells in found.values():
        assert (cells[0], cells[1], *cells[3:]) == (f"{_USER}:{_USER}", "none", "yes", "filtered")


def test_root_alone_keeps_no_more(run_directory):
    """A single service as root, without --user: uid 0, and nothing that root has beside its files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATTLINE_")}
    environment |= {"WATTLINE_RUN": str(run_directory)}
    command = [sys.executable, "-m", "services.calculator", "--interval-s", "0.1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as calculator:
        try:
            for line in calculator.stdout:
                if " started " in line:
                    break
            found = held(calculator.pid)
        finally:
            calculator.terminate()
            calculator.communicate()
    assert found == ["0:0", "none", "empty", "yes", "filtered"]
