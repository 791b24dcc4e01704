# SPDX-License-Identifier: Apache-2.0
"""The first seconds of `wattline up`: what it takes, what it promises, and how it ends when it can't work."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.pipeline.pipeline import Pipeline
from tests.readable import command
from wattline import isolated
from wattline.cli.listening import for_people
from wattline.pipeline import SERVICES
from wattline.setting_owners import OWNERS, split_flags

ROOT = Path(__file__).parents[2]


def wattline(pipeline, *arguments):
    command = isolated.command("wattline.cli", *arguments)
    return subprocess.run(command, env=pipeline.environment, capture_output=True, text=True, timeout=30)


def test_flags_go_to_the_services_that_have_them():
    """Each flag of one service reaches that service alone, with its value in either spelling."""
    rest, own = split_flags(
        ["--idle-policy", "even", "--interval-s=2", "--probe.keep", "--path.sysfs=/x", "--node", "n"]
    )
    assert rest == ["--interval-s=2", "--node", "n"]
    assert own["calculator"] == ["--idle-policy", "even"]
    assert own["probe"] == ["--probe.keep", "--path.sysfs=/x"]
    assert own["power"] == ["--path.sysfs=/x"]
    assert own["metadata"] == own["exporter"] == []
    assert {service for owners in OWNERS.values() for service in owners} == set(SERVICES)


def test_up_takes_the_services_own_flags(run_directory, pin_path):
    """`wattline up --idle-policy even`, as the docs write it, runs with that policy."""
    with Pipeline(run_directory, pin_path, flags=["--idle-policy", "even"]) as running:
        running.wait_ready()
        frame = wattline(running, "tap", "--last", "--json", "energy").stdout
        assert '"idle_policy":"even"' in frame


def test_a_mistyped_flag_is_refused(run_directory, pin_path):
    """Exit code 2, one line, and the flag that was probably meant."""
    result = wattline(Pipeline(run_directory, pin_path), "up", "--idle-polcy", "even")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--idle-polcy; did you mean --idle-policy?" in result.stderr


def test_a_port_in_use_ends_up_at_the_start(run_directory, pin_path):
    """The exporter can't listen: `up` ends with its words, promises no address, and leaves nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with Pipeline(run_directory, pin_path, web_listen_address=address) as running:
            assert running.process.wait(60) == 1
    assert running.said(rf"exporter fatal .*cannot listen on {address}.*--web.listen-address")
    assert running.said(r"up +\| exporter ended with exit code 1")
    assert not running.said("Wattline runs")
    assert not pin_path.exists()


def test_the_address_is_told_once_it_answers(run_directory, pin_path):
    """The line that says where to look comes after the exporter listens, with the port that it has."""
    with Pipeline(run_directory, pin_path) as running:
        line = running.wait_until(lambda: running.said("Wattline runs: "))[0]
        url = re.search(r"(http://\S+/metrics)", line)[1]
        assert urllib.request.urlopen(url, timeout=10).status == 200


def test_a_second_up_names_the_cure(run_directory, pin_path):
    """Who types `make run` twice is told how to stop the first."""
    with Pipeline(run_directory, pin_path) as running:
        running.wait_ready()
        result = wattline(running, "up")
    assert result.returncode == 1
    assert f"`wattline down --run {run_directory}` stops it" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_user_is_told_what_needs_root(run_directory, pin_path, readable_directory, tmp_path):
    """Not root: one line says what is missing; the services run all the same, on /proc and estimates."""
    program = tmp_path / "cli.py"
    program.write_text("import sys\nfrom wattline.cli.main import main\nsys.exit(main())\n", encoding="ascii")
    os.chown(run_directory, 60999, 60999)
    become = ["setpriv", "--reuid=60999", "--regid=60999", "--clear-groups"]
    code = command(program, readable_directory, 60999, 60999)
    pipeline = Pipeline(run_directory, pin_path, command=[*become, *code])
    # An interpreter that was copied may look for its library where this user can't.
    pipeline.environment["LD_LIBRARY_PATH"] = str(Path(code[0]).parents[1] / "lib")
    with pipeline as running:
        running.wait_until(lambda: running.said("not root: no eBPF"))
        running.wait_ready()


@pytest.fixture
def broken(tmp_path_factory):
    """A copy of the code in which metadata fails at each frame, as where it could not import a module."""
    copy = Path(tmp_path_factory.mktemp("broken"))
    for name in ("wattline", "services"):
        shutil.copytree(ROOT / name, copy / name)
    loop = copy / "services/metadata/loop.py"
    text = loop.read_text(encoding="utf-8")
    broken = text.replace("        self._directory.see(frame)\n", "        import numpy.nothing\n")
    assert broken != text
    loop.write_text(broken, encoding="utf-8")
    return isolated.Code(sys.executable, copy / "wattline/start.py").command("wattline.cli")


def test_a_stage_whose_turns_fail_is_named_everywhere(broken, run_directory, pin_path, readable_directory):
    """Health, stage_up, the page and the log name the stage that fails, and no other."""
    cache = str(readable_directory / "cache")
    with Pipeline(run_directory, pin_path, command=broken, interval_s="0.2", up_cache=cache) as running:
        running.wait_until(lambda: running.said(r"exporter stage_fault stage=metadata state=failing"))
        ups = {one.labels["stage"]: one.value for one in running.scrape() if one.name == "wattline_stage_up"}
        assert ups == {service: float(service != "metadata") for service in SERVICES}
        assert b"failing" in running.fetch("/")
        assert {service: wattline(running, "health", service).returncode for service in SERVICES} == {
            service: int(service == "metadata") for service in SERVICES
        }


def test_ready_names_a_stage_that_stands_still(run_directory, pin_path):
    """The probe stopped: energy stands still, and /-/ready says whose fault that is."""
    with Pipeline(run_directory, pin_path, interval_s="0.2") as running:
        running.wait_ready()
        os.kill(running.pid("probe"), signal.SIGSTOP)
        try:

            def reason():
                try:
                    running.fetch("/-/ready")
                except urllib.error.HTTPError as error:
                    text = error.read().decode()
                    return text if "At fault" in text else None

            assert "the last frame of probe is" in running.wait_until(reason)
            assert wattline(running, "health", "calculator").returncode == 0
            assert wattline(running, "health", "probe").returncode == 1
        finally:
            os.kill(running.pid("probe"), signal.SIGCONT)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("127.0.0.1:28283", "127.0.0.1:28283"),
        ("[::]:1", "localhost:1"),
        ("0.0.0.0:1", "localhost:1"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_the_banner_names_an_address_that_a_browser_opens(address, shown):
    """Every address of the machine is none that can be typed."""
    assert for_people(address) == shown


@pytest.mark.parametrize("flag", ["--user=1:1", "--die-with-parent"])
def test_flags_that_up_gives_itself_are_refused(run_directory, pin_path, flag):
    """They would be overridden in silence."""
    result = wattline(Pipeline(run_directory, pin_path), "up", flag)
    assert result.returncode == 2
    assert "is a flag of single services" in result.stderr
