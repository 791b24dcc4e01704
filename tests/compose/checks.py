# SPDX-License-Identifier: Apache-2.0
"""What holds of a stack, whichever Compose started it."""

import time
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from tests.pipeline.ever_rising import Scrapes
from wattline.pipeline import SERVICES

from . import programs
from .base_image import NAME as BASE
from .stack import wait_until


def value(series, name, **labels) -> Decimal:
    """The sum of a family's series with these labels."""
    return sum(
        (
            one.value
            for one in series
            if one.name == name and all(one.labels.get(key) == wanted for key, wanted in labels.items())
        ),
        Decimal(),
    )


def joules(series) -> Decimal:
    return value(series, "kepler_node_package_joules_total")


def given_to_nobody(series) -> Decimal:
    """Joules of the package that nobody was given, for another reason than the idle policy."""
    return value(series, "wattline_unattributed_joules_total", zone="package") - value(
        series, "wattline_unattributed_joules_total", zone="package", reason="idle_policy"
    )


@contextmanager
def beside(stack, script, *options):
    """A container of Docker's beside Wattline; gives its id."""
    command = ["run", "--detach", "--network", "none", *options, BASE, "sh", "-c", script]
    found = stack.engine.docker(*command).strip()
    try:
        yield found
    finally:
        stack.engine.docker("rm", "--force", found)


class Watch:
    """Scrapes all the while: the books close in each, and nothing that is a total falls."""

    def __init__(self, stack) -> None:
        self._stack = stack
        self.scrapes = Scrapes(stack.exporter)

    def while_running(self, process) -> None:
        """Until a command has ended well."""
        while process.poll() is None:
            self.scrapes.next_if_up()
            time.sleep(0.2)
        output = process.stdout.read()
        process.stdout.close()
        assert process.returncode == 0, output

    def for_seconds(self, seconds) -> None:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self.scrapes.next_if_up()
            time.sleep(0.2)

    def until_back(self, service) -> float:
        """Seconds until a service has published again."""
        begun_s, since_ns = time.monotonic(), time.monotonic_ns()
        while not self._stack.has_published_since(service, since_ns):
            assert time.monotonic() < begun_s + 60, service
            self.for_seconds(0.2)
        return time.monotonic() - begun_s


def check_nothing_is_lost(before, after) -> None:
    """No gap, and what nobody was given is under a thousandth."""
    lost = given_to_nobody(after) - given_to_nobody(before)
    used = joules(after) - joules(before)
    print(f"{used} J of the package, {lost} J given to nobody ({float(lost / used):.5%})")
    assert value(after, "wattline_zone_gaps_total") == value(before, "wattline_zone_gaps_total")
    assert lost < used / 1000


def change_source(stack) -> None:
    """So that there is something to build."""
    with (stack.checkout / "wattline/__init__.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")


def update(stack, watch, service) -> None:
    """`up --detach --build SERVICE` after a change of the source gives that one a new container alone."""
    containers, image = stack.containers(), stack.inspect(service)["Image"]
    begun_s = time.monotonic()
    watch.while_running(stack.start_compose("up", "--detach", "--build", service))
    print(f"{service}: built and replaced in {time.monotonic() - begun_s:.1f} s", end=", ")
    print(f"back after {watch.until_back(service):.1f} s more")
    watch.for_seconds(2)
    changed = {name for name, found in stack.containers().items() if found != containers[name]}
    assert changed == {service}
    assert stack.inspect(service)["Image"] != image


def down_leaves_nothing(stack) -> None:
    """No container, process, mount or program."""
    ours = set(programs.pinned(stack.pins / "wattline").values())
    assert ours
    assert ours <= programs.loaded()
    pids = [stack.pid(service) for service in SERVICES]
    stack.engine.docker("kill", "--signal", "KILL", stack.container("probe"))
    stack.compose("down")
    assert not stack.engine.docker("ps", "--all", "--quiet").strip()
    assert not [mount for mount in stack.engine.mounts() if "/volumes/" in mount]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    wait_until("programs unloaded", lambda: not ours & programs.loaded())


def names_on_request(stack) -> None:
    """With Docker's socket metadata tells names, from a container's first sample on; without it they stay.

    A container that ran before has been shown without a name, and keeps none: its series goes on.

    By the engine's own group for it; whoever looks at metadata's container finds the socket read-only.
    """
    socket_path = stack.engine.directory / "socket"
    family = "kepler_container_bpf_cpu_time_ms_total"

    def names(container_id):
        return {
            one.labels.get("container_name", "")
            for one in stack.scrape()
            if one.name == family and one.labels["container_id"] == container_id
        }

    def publish(service, after_s=0.0):
        since_ns = time.monotonic_ns() + int(after_s * 1e9)
        wait_until(service, lambda: stack.has_published_since(service, since_ns))

    containers = stack.containers()
    stack.files.append("compose.names.yaml")
    stack.settings["DOCKER_SOCKET"] = str(socket_path)
    stack.settings["DOCKER_GROUP"] = str(socket_path.stat().st_gid)
    stack.compose("up", "--detach", "metadata")
    publish("metadata")
    spin = "while :; do :; done"
    with beside(stack, spin, "--name", "wl-named.1", "--cpus", "0.1") as container_id:
        seen = []
        wait_until("its name", lambda: seen.append(names(container_id)) or seen[-1] == {"wl-named.1"})
        assert all(found in (set(), {"wl-named.1"}) for found in seen), seen  # never first without a name
        assert names(containers["probe"]) == {""}
        up = value(stack.scrape(), "wattline_source_up", source="docker")
        mounts = {mount["Destination"]: mount["RW"] for mount in stack.inspect("metadata")["Mounts"]}
        stack.files.pop()
        stack.compose("up", "--detach", "metadata")
        publish("metadata")
        publish("calculator", after_s=2)  # what that metadata named
        assert names(container_id) == {"wl-named.1"}
    assert up == 1
    assert mounts["/run/docker.sock"] is False
    changed = {name for name, found in stack.containers().items() if found != containers[name]}
    assert changed == {"metadata"}
