# SPDX-License-Identifier: Apache-2.0
"""Each service runs with what its own extra installs, and nothing else."""

import re
import subprocess
import sys
from importlib import metadata

import pytest

from wattline.wire.rundir import SERVICES

# Imports every module of a service where all other third-party packages look as if they weren't installed.
IMPORT_ALL = """
import importlib, pkgutil, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not installed by this extra", name=name)

service, *hidden = sys.argv[1:]
for name in hidden:
    sys.modules.pop(name, None)  # an environment's own set-up may have loaded it
sys.meta_path.insert(0, NotInstalled())
package = importlib.import_module(f"services.{service}")
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert "bcc" not in sys.modules, "BCC belongs to the loader's run, not to an import"
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(distribution: str, extra: str = "") -> set[str]:
    """Names of the distributions that one needs, with those that these need."""
    found = {normal(distribution)}
    for requirement in metadata.requires(distribution) or []:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        _, _, condition = requirement.partition(";")
        wanted = re.search(r"extra == ['\"]([^'\"]+)", condition)
        if (wanted is None and not condition) or (wanted is not None and wanted[1] == extra):
            found |= required(name)
    return found


def hidden_from(service: str) -> list[str]:
    """Top-level modules of installed distributions that the service's extra doesn't bring."""
    allowed = required("wattline", service)
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if not {normal(owner) for owner in owners} & allowed
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_only_its_own_extra(service):
    """Every module of a service can be imported where only wattline[service] is installed."""
    hidden = hidden_from(service)
    assert "hypothesis" in hidden
    assert ("prometheus_client" in hidden) == (service != "exporter")
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, service, *hidden], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
