# SPDX-License-Identifier: Apache-2.0
"""What of the package kubernetes is imported, and that it also works when it is imported as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BARE = """
import sys
from services.metadata.cluster import package
pools = package.pools()
print(type(pools).__name__, len([name for name in sys.modules if name.startswith("kubernetes")]))
"""
BROKEN = """
import sys
from services.metadata.cluster import package
real = package._make_bare
def make_bare(name):
    if name == "kubernetes.config":
        raise ImportError(name)
    return real(name)
package._make_bare = make_bare
pools = package.pools()
import kubernetes.client
print(type(pools).__name__, hasattr(kubernetes.client, "CoreV1Api"))
"""
WHOLE = "import kubernetes.client" + BARE


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()


def test_only_what_is_needed_is_imported():
    """Not the models, which take 36 MB."""
    name, modules = run(BARE)
    assert name == "PoolManager"
    assert int(modules) < 10


@pytest.mark.parametrize("code", [BROKEN, WHOLE], ids=["another layout", "imported before"])
def test_the_whole_package_will_do(code):
    """A version with another layout costs memory, no names."""
    name, _rest = run(code)
    assert name == "PoolManager"


def test_importing_the_source_takes_no_tls():
    """Every metadata imports it."""
    code = (
        "import sys; import services.metadata.rights; print('ssl' in sys.modules, 'urllib3' in sys.modules)"
    )
    assert run(code) == ["False", "False"]
