# SPDX-License-Identifier: Apache-2.0
"""Processes of ours run our code, whatever lies in the current directory or in the environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline import isolated
from wattline.pipeline import SERVICES

ROOT = Path(__file__).parents[2]
_MARK = "WATTLINE-WAS-TRICKED"


@pytest.fixture
def hostile(tmp_path):
    """A directory with packages of our names, and of all that we import, in it."""
    names = ["wattline", "zmq", "msgpack", "msgspec", "numpy", "prometheus_client", "bcc", "json", "runpy"]
    names += ["services", *(f"services/{service}" for service in SERVICES)]
    for name in names:
        package = tmp_path / name
        package.mkdir(exist_ok=True)
        for file in ("__init__.py", "__main__.py"):
            (package / file).write_text(f"raise SystemExit('{_MARK} by ' + __file__)\n", encoding="ascii")
    return tmp_path


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_no_code_from_the_current_directory(hostile, service):
    """`wattline SERVICE` typed in a stranger's directory runs our service."""
    wattline = Path(sys.executable).with_name("wattline")
    result = subprocess.run([wattline, service, "--help"], cwd=hostile, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: wattline {service}")


def test_a_whole_wattline_runs_in_a_hostile_directory(hostile, run_directory, pin_path):
    """`wattline up` there, and with PYTHONPATH of it: all five are ours, eBPF loader included."""
    up = isolated.command("wattline.cli")
    pipeline = Pipeline(run_directory, pin_path, command=up, directory=hostile)
    pipeline.environment["PYTHONPATH"] = str(hostile)
    with pipeline as running:
        running.wait_ready()
        assert not running.said(_MARK)
        assert running.said(r"probe +\| .* probe attached ")


def test_another_package_called_services_is_not_ours(tmp_path):
    """The services come from the folder beside (or inside) `wattline`, whatever else is installed."""
    shutil.copytree(ROOT / "wattline", tmp_path / "here/wattline")
    shutil.copytree(ROOT / "services", tmp_path / "here/wattline/services")  # as the wheel has them
    (tmp_path / "here/services/probe").mkdir(parents=True)
    (tmp_path / "here/services/probe/__main__.py").write_text(
        f"raise SystemExit('{_MARK}')", encoding="ascii"
    )
    code = isolated.Code(sys.executable, tmp_path / "here/wattline/start.py")
    result = subprocess.run(code.command("services.probe", "--help"), capture_output=True, text=True)
    assert result.stdout.startswith("usage: wattline probe"), result.stderr


def test_no_process_is_started_by_a_modules_name():
    """`python -m NAME` looks in the current directory first: product code says wattline.isolated instead."""
    by_name = re.compile(r'"-m", f?"(services|wattline)')
    for path in [*(ROOT / "wattline").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not by_name.search(text), path
        if "sys.executable" in text:
            assert path.name in ("isolated.py", "code_parts.py", "readable_copy.py"), (
                f"{path} starts an interpreter by itself"
            )


def test_root_leaves_no_files_in_a_users_checkout(tmp_path):
    """Code of another owner is run without writing __pycache__ into it."""
    shutil.copytree(ROOT / "wattline", tmp_path / "wattline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 60999, 60999)
    command = isolated.Code(sys.executable, tmp_path / "wattline/start.py").command(
        "services.power", "--help"
    )
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert not list(tmp_path.rglob("__pycache__"))
