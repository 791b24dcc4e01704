# SPDX-License-Identifier: Apache-2.0
"""The source within its process: what opening, closing and a thread that hangs do, and what it needs."""

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from services.power import redfish
from services.power.needs import Needs
from services.power.settings import PowerSettings
from services.power.source import Former, Level
from wattline.errors import Fatal

from .bmc import Bmc
from .world import Rounds, S, settings


def test_opening_asks_nothing(bmc, clock):
    """The service's own thread opens the source: no request may hang it."""
    source = Rounds(bmc, clock)
    source.source.close()
    assert bmc.seen == []


@pytest.mark.parametrize("everywhere", [False, True])
def test_close_while_a_request_hangs(bmc, clock, everywhere):
    """Close, from another thread, ends the request, logs out if the BMC answers, and takes below 2 s."""
    source = Rounds(bmc, clock, redfish_timeout_s=30)
    source.round()
    bmc.fault, bmc.everywhere = "hang", everywhere
    ended = []
    reader = threading.Thread(target=lambda: ended.append(source.source.read(clock.monotonic_ns())))
    reader.start()
    asked = len(bmc.seen)
    while len(bmc.seen) == asked:
        time.sleep(0.005)
    begun_s = time.monotonic()
    source.source.close()
    took_s = time.monotonic() - begun_s
    reader.join(5)
    assert not reader.is_alive()
    assert took_s < 1.6
    assert "closed" in ended[0].state.reason
    assert bool(bmc.sessions) == everywhere


def test_close_while_connecting(authority, clock):
    """A BMC whose address swallows packets: its listening queue is full, so that connect waits."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        Bmc(authority, now_ns=clock.monotonic_ns) as bmc,
    ):
        kept = [socket.socket() for _one in range(2)]
        for one in kept:
            one.setblocking(False)  # noqa: FBT003 no keyword
            one.connect_ex(full.getsockname())
        url = f"https://127.0.0.1:{full.getsockname()[1]}"
        source = Rounds(bmc, clock, redfish_url=url, redfish_timeout_s=30)
        reader = threading.Thread(target=lambda: source.source.read(clock.monotonic_ns()))
        reader.start()
        time.sleep(0.1)
        begun_s = time.monotonic()
        source.source.close()
        reader.join(5)
        for one in kept:
            one.close()
        assert not reader.is_alive()
        assert time.monotonic() - begun_s < 1.6


def test_close_waits_for_a_login(bmc, clock):
    """A login that is being answered is let through, so that its session can be ended."""
    source = Rounds(bmc, clock, redfish_timeout_s=30)
    begun = threading.Event()
    session = source.source._session
    answer = session._answer

    def slow(method, path, body=None):
        if method == "post":
            begun.set()
            time.sleep(0.1)
        return answer(method, path, body)

    session._answer = slow
    reader = threading.Thread(target=lambda: source.source.read(clock.monotonic_ns()))
    reader.start()
    begun.wait(5)
    session._transport.send = _after_stop(session._transport)
    source.source.close()
    reader.join(5)
    assert bmc.sessions == {}


def _after_stop(transport):
    """The login was sent just before the stop."""
    send = type(transport).send

    def sent(request, **limits):
        stopped, transport._is_stopped = (
            transport._is_stopped,
            transport._is_stopped and request.method != "POST",
        )
        try:
            return send(transport, request, **limits)
        finally:
            transport._is_stopped = stopped or transport._is_stopped

    return sent


def test_no_url_no_source():
    """Without a setting there is nothing, and the words say how to have it."""
    source = redfish.open_source(PowerSettings(), Former(), 1)
    readings = source.read(2)
    source.close()
    assert not readings.rows
    assert "set redfish.url" in readings.state.reason
    assert not readings.state.up
    assert redfish.needs(PowerSettings()) == Needs()


def test_needs_and_period(bmc, clock):
    """Sockets for the network, no capability; the period is a setting's."""
    with Rounds(bmc, clock) as source:
        needs = redfish.needs(source.settings)
        assert set(needs.families) == {socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
        assert needs.capabilities == ()
        assert redfish.period_ns(source.settings) == 30 * S


def test_a_machine_without_the_package(bmc, clock, monkeypatch):
    """The reason says what to install."""
    monkeypatch.setitem(sys.modules, "redfish", None)
    with Rounds(bmc, clock) as source:
        assert "pip install 'wattline[redfish]'" in source.round().state.reason


def test_a_bmc_that_was_never_read_is_a_fault(bmc, clock, tmp_path):
    """Its reason is logged as an error and shown, though no chassis is known yet."""
    with Rounds(bmc, clock, redfish_credentials_file=str(tmp_path / "none")) as source:
        readings = source.rounds(2)
    assert not readings.nothing_found
    assert [(one.zone, one.index) for one in readings.absent] == [("", "bmc")]
    assert "No such file" in readings.state.reason
    said = {(note.event, note.cause, note.level) for note in source.notes}
    assert said == {("unreadable", readings.state.reason, Level.COUNTED)}


def test_an_address_with_a_path_is_refused():
    """At the start, with what was expected."""
    with pytest.raises(Fatal, match="expected https://HOST"):
        redfish.open_source(PowerSettings(redfish_url="https://bmc/ui"), Former(), 1)


def test_rows_of_other_sources_are_left_alone(bmc, clock):
    """A former frame has rows of RAPL too."""
    with Rounds(bmc, clock) as source:
        (row,) = source.round().rows
    other = replace(row, zone=replace(row.zone, source="acpi"))
    bmc.down()
    with Rounds(bmc, clock, Former(rows={other.zone: other})) as source:
        assert not source.round().rows


def test_a_power_service_without_a_bmc_stays_light():
    """Neither TLS nor the package is loaded unless there is an address."""
    program = (
        "import sys\n"
        "from services.power import redfish\n"
        "from services.power.settings import PowerSettings\n"
        "from services.power.source import Former\n"
        "redfish.open_source(PowerSettings(), Former(), 1).read(2)\n"
        "print(sorted({'ssl', 'http.client', 'redfish', 'requests'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_name_is_not_looked_up_for_the_log_out(bmc, clock, monkeypatch):
    """A look-up can't be ended, so the end doesn't begin one."""
    bmc.use(*bmc.authority.certificate("localhost"))
    with Rounds(bmc, clock, redfish_url=f"https://localhost:{bmc.port}") as source:
        assert source.round().state.up
        monkeypatch.setattr(socket, "getaddrinfo", None)
    assert bmc.sessions == {}


def test_under_the_services_own_filter(bmc, clock):
    """With the system calls and the sockets that the service allows itself, by name and by address."""
    bmc.use(*bmc.authority.certificate("localhost"))
    given = settings(bmc)
    program = (
        "import sys, time\n"
        "from services.power import redfish\n"
        "from services.power.settings import PowerSettings\n"
        "from services.power.source import Former\n"
        "from wattline.confine import seccomp\n"
        "from wattline.confine.system_calls import SERVICE\n"
        "from wattline.settings import load\n"
        "settings, _ = load(PowerSettings, 'power', sys.argv[1:], {})\n"
        "source = redfish.open_source(settings, Former(), time.monotonic_ns())\n"
        "needs = redfish.needs(settings)\n"
        "seccomp.allow_only(SERVICE | needs.calls, (1, *needs.families))\n"
        "for _round in range(2):\n"
        "    print(source.read(time.monotonic_ns()).state)\n"
        "source.close()\n"
    )
    flags = [f"--redfish.url=https://localhost:{bmc.port}", f"--redfish.ca-file={given.redfish_ca_file}"]
    flags.append(f"--redfish.credentials-file={given.redfish_credentials_file}")
    result = subprocess.run(
        [sys.executable, "-c", program, *flags], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.count("up=True") == 2, result.stdout
    assert result.stderr == ""
    assert bmc.sessions == {}
