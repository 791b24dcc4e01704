# SPDX-License-Identifier: Apache-2.0
"""The same by Docker's own Compose v2: it is another program, and reads the same files."""

import platform
import subprocess
import time

import pytest

from tests.pipeline.books import check_books
from wattline.pipeline import SERVICES

from . import privileges
from .checks import (
    Watch,
    change_source,
    check_nothing_is_lost,
    down_leaves_nothing,
    joules,
    names_on_request,
    update,
)
from .engine import Engine
from .stack import COMPOSE_2, ROOT, Stack, wait_until
from .test_files import ALONE, MONITORED, NAMED

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the registries hold Compose v2 for x86-64 only"
)


@pytest.mark.parametrize("files", [ALONE, MONITORED, NAMED], ids=["alone", "monitored", "named"])
def test_compose_2_takes_the_files(files):
    """Without a word of complaint."""
    command = [COMPOSE_2, *(word for name in files for word in ("-f", name)), "config", "--quiet"]
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_GROUP": "999"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def stack(request):
    with Engine() as engine, Stack(engine, compose_2=True) as stack:
        yield stack
        if request.session.testsfailed:
            print(stack.compose("logs", "--no-color", check=False))


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_compose_2_from_up_to_down(stack):
    """Built and started, with the same privileges; named on request; one replaced; nothing left."""
    stack.compose("build")
    begun_s = time.monotonic()
    stack.compose("up", "--detach")
    first = wait_until("joules", lambda: joules(stack.scrape()))
    wait_until("rising joules", lambda: joules(stack.scrape()) > first)
    print(f"joules rise {time.monotonic() - begun_s:.1f} s after `up`")
    privileges.check({service: stack.pid(service) for service in SERVICES})
    names_on_request(stack)
    change_source(stack)
    watch = Watch(stack)
    before = watch.scrapes.next()
    for service in ("probe", "calculator"):
        update(stack, watch, service)
    after = watch.scrapes.next()
    check_books(after)
    check_nothing_is_lost(before, after)
    down_leaves_nothing(stack)
