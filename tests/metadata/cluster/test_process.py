# SPDX-License-Identifier: Apache-2.0
"""A confined process: metadata's own rights, filter and settings. Run as root."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .objects import NODE, pod
from .server import LIST
from .test_access import kubeconfig
from .world import eventually

pytestmark = pytest.mark.timeout(40)

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def stage(world, run, *arguments, **variables):
    """(the process, an iterator of what it says) of tests/metadata/cluster/stage.py."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("WATTLINE_", "KUBERNETES_"))
    }
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment |= {"WATTLINE_RUN": str(run), "PYTHONPATH": path, "ACCOUNT": str(world.account)} | variables
    command = [
        sys.executable,
        str(ROOT / "tests/metadata/cluster/stage.py"),
        "--interval-s",
        "0.05",
        *arguments,
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (
                process,
                (
                    re.search(r"said what=(.*) modules=(\d+) models=(\d+)", line) or line
                    for line in process.stdout
                ),
            )
        finally:
            process.kill()


def said(lines, wanted):
    """The line that says it; the test's time limit ends a wait in vain."""
    seen = []
    for line in lines:
        if not isinstance(line, str) and re.search(wanted, line[1]):
            return line
        seen.append(line if isinstance(line, str) else line[0])
    raise AssertionError(seen)


def test_a_confined_process_asks_the_api_server(world, run_directory):
    """With `auto` in a cluster. The filter lets it, and of the package only what is needed is there."""
    world.cluster.put(pod("web-1"))
    with stage(world, run_directory, **world.environ) as (process, lines):
        line = said(lines, "web-1")
        assert int(line[2]) < 12
        assert int(line[3]) == 0
        world.cluster.put(pod("web-2"))
        said(lines, "web-1,web-2")
        world.cluster.fault = "hang"
        world.cluster.end_watches()
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(5) == 0
        assert time.monotonic() - began_s < 2


def test_a_confined_process_takes_a_kubeconfig(world, run_directory):
    """Inline certificates are written where the stage may write, and are gone afterwards."""
    world.cluster.put(pod("web-1"))
    given = ("--kubernetes.kubeconfig", kubeconfig(world), "--kubernetes.node", NODE)
    with stage(world, run_directory, *given) as (_process, lines):
        said(lines, "web-1")
        assert [one.name for one in (run_directory / "metadata").iterdir() if "kubeconfig" in one.name] == []


def test_off_has_no_network_and_no_package(world, run_directory):
    """Outside of a cluster nothing of it is there."""
    with stage(world, run_directory) as (process, lines):
        line = said(lines, "off")
        assert int(line[2]) == 0
        assert not any("ssl" in one for one in _maps(process.pid))
    assert world.cluster.requests == []


def _maps(pid):
    return Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()


def test_without_the_package_it_is_said(world, run_directory, tmp_path):
    """And what installs it."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'kubernetes':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n",
        encoding="ascii",
    )
    path = os.pathsep.join([str(blocked), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with stage(world, run_directory, **world.environ, PYTHONPATH=path) as (_process, lines):
        said(lines, r"the package kubernetes isn't installed: pip install 'wattline\[kubernetes\]'")


def test_the_variables_that_kubernetes_sets_do_no_harm(world, run_directory):
    """For a Service that is called wattline: WATTLINE_PORT and the like are no settings."""
    world.cluster.put(pod("web-1"))
    injected = {
        "WATTLINE_PORT": "tcp://10.0.0.7:28283",
        "WATTLINE_SERVICE_HOST": "10.0.0.7",
        "WATTLINE_SERVICE_PORT": "28283",
        "WATTLINE_PORT_28283_TCP": "tcp://10.0.0.7:28283",
        "WATTLINE_KUBERNETES_SERVICE_HOST": "10.0.0.8",
        "WATTLINE_KUBERNETES_PORT": "tcp://10.0.0.8:443",
    }
    with stage(world, run_directory, **world.environ, **injected) as (_process, lines):
        said(lines, "web-1")
    eventually(lambda: world.cluster.seen(LIST))
