# SPDX-License-Identifier: Apache-2.0
"""The password stays where it belongs."""

import errno
import gc
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from services.power import redfish
from services.power.redfish_bmc import address, credentials
from services.power.redfish_bmc.errors import Failed
from services.power.settings import PowerSettings
from services.power.source import Former, absent_table, table
from wattline.errors import Fatal
from wattline.settings import load
from wattline.wire import codec
from wattline.wire.frames import Power

from ..world import FakeRuntime
from .server import BODIES, FIGURES
from .world import Rounds
from .world import credentials as write

SECRET = "Tr0ub4dor-and-3"  # noqa: S105 of nothing
FAULTS = ("", "401", "403", "500", "503", "redirect-away", "hang", "gone", *FIGURES, *sorted(BODIES))


@pytest.fixture
def bmc(bmc):
    bmc.password = SECRET
    return bmc


@pytest.mark.parametrize("method", ["session", "basic"])
def test_no_fault_shows_the_password(bmc, clock, capsys, caplog, method):
    """Not in a log, a reason, a note or a row, even though the BMC repeats what it was sent."""
    caplog.set_level(logging.DEBUG)
    shown = []
    with Rounds(bmc, clock, redfish_auth=method, redfish_timeout_s=1) as source:
        for everywhere in (False, True):
            bmc.everywhere = everywhere
            for fault in FAULTS:
                bmc.fault = fault
                shown += [repr(source.round()), repr(source.source), repr(vars(source.source._session))]
                bmc.sessions.clear()
                clock.advance(600)
        bmc.fault = ""
        write(bmc.authority.directory / "credentials", bmc.user, SECRET + "x")
        clock.advance(600)
        shown.append(repr(source.round()))
    streams = capsys.readouterr()
    token = next(iter(bmc.sessions), "none")
    for text in (*shown, streams.out, streams.err, caplog.text):
        assert SECRET not in text
        assert token not in text
    assert bmc.logins > 3 or method == "basic"


def test_no_object_keeps_the_password(bmc, clock):
    """Between two logins nothing that the source holds has it, so that no dump of its objects shows it."""
    with Rounds(bmc, clock) as source:
        source.rounds(2)
        gc.collect()
        client = vars(source.source._session._client)
        assert SECRET not in repr(client)
        held = [one for one in gc.get_objects() if isinstance(one, credentials.Credentials)]
        assert held == []


def test_an_exceptions_traceback_has_no_password(bmc, clock):
    """Not even with the values of local variables."""
    with Rounds(bmc, clock) as source:
        bmc.fault, bmc.everywhere = "redirect-away", True
        session = source.source._session
        source.source._transport.begin(5)
        with pytest.raises(Failed) as caught:
            session.get("/redfish/v1/Chassis")
        whole = traceback.format_exception(caught.value)
        assert SECRET not in "".join(whole)
        assert caught.value.__cause__ is None or SECRET not in repr(caught.value.__cause__)
        source.source._transport.close()


def test_an_unknown_error_is_named_by_its_type(bmc, clock):
    """Its text may have the request in it."""
    with Rounds(bmc, clock) as source:
        exchange = source.source._transport._exchange

        def fails(request, path):
            if request.method == "POST":
                raise RuntimeError(f"{request.body}")
            return exchange(request, path)

        source.source._transport._exchange = fails
        reason = source.round().state.reason
    assert "RuntimeError" in reason
    assert SECRET not in reason


def test_a_frame_has_no_password(bmc, clock):
    """Nor the user, nor the address's secrets: rows and reasons alone are published."""
    runtime = FakeRuntime()
    with Rounds(bmc, clock) as source:
        for fault in ("", "401"):
            bmc.fault = fault
            readings = source.round()
            runtime.publish(
                Power,
                epoch=1,
                mono_ns=clock.monotonic_ns(),
                zones=table(readings.rows, 1),
                sources=[readings.state],
                absent=absent_table(readings.absent),
            )
    for frame in runtime.frames:
        data = codec.encode(frame)
        assert b"platform" in data
        assert SECRET.encode() not in data
        assert bmc.user.encode() not in data


def test_the_command_line_and_the_errors_of_settings_have_none(tmp_path):
    """A password in the address is refused without being repeated; there is no flag for one at all."""
    url = f"https://reader:{SECRET}@bmc.example"
    with pytest.raises(Fatal) as caught:
        redfish.open_source(PowerSettings(redfish_url=url), Former(), 1)
    assert SECRET not in str(caught.value)
    assert "redfish.credentials-file" in str(caught.value)
    settings, warnings = load(PowerSettings, "power", [f"--redfish.url={url}"], {})
    assert settings.redfish_url == url
    environment = {credentials.PASSWORD_VARIABLE: SECRET, credentials.USER_VARIABLE: "reader"}
    assert load(PowerSettings, "power", [], environment)[1] == warnings == []
    with pytest.raises(SystemExit):
        load(PowerSettings, "power", ["--redfish.password", "x"], {})


def test_the_process_shows_none(bmc, clock, tmp_path):
    """A process that reads the BMC has it neither in its arguments nor in its environment."""
    account = tmp_path / "account"
    write(account, bmc.user, SECRET)
    program = (
        "import sys, time\n"
        "from services.power import redfish\n"
        "from services.power.settings import PowerSettings\n"
        "from services.power.source import Former\n"
        "from wattline.settings import load\n"
        "settings, _ = load(PowerSettings, 'power', sys.argv[1:], {})\n"
        "source = redfish.open_source(settings, Former(), time.monotonic_ns())\n"
        "print(source.read(time.monotonic_ns()), flush=True)\n"
        "sys.stdin.read()\n"
        "source.close()\n"
    )
    flags = ["--redfish.url", bmc.url, "--redfish.ca-file", str(bmc.authority.ca_file)]
    command = [sys.executable, "-c", program, *flags, "--redfish.credentials-file", str(account)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        shown = process.stdout.readline()
        root = Path("/proc") / str(process.pid)
        assert "energy_uj" in shown
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in (root / name).read_bytes()
        rest, _none = process.communicate("")
    assert SECRET not in shown + rest
    assert bmc.sessions == {}


def test_the_file(tmp_path):
    """Two lines; nobody but the owner and the group may read it, and nobody but the owner write it."""
    path = tmp_path / "account"
    write(path, "reader", SECRET)
    for mode in (0o600, 0o640, 0o400, 0o440):
        path.chmod(mode)
        found = credentials.read(str(path), {})
        assert (found.user, found.password) == ("reader", SECRET)
        assert SECRET not in repr(found)
        assert SECRET not in str(found)
    for mode in (0o644, 0o604, 0o660, 0o602, 0o777):
        path.chmod(mode)
        with pytest.raises(Failed, match=f"got {mode:04o}, so others can read or change it"):
            credentials.read(str(path), {})


@pytest.mark.parametrize(
    "content",
    [b"", SECRET.encode(), b"a\n\n", b"a\nb\nc\n", b"\n" + SECRET.encode(), b"\xff\n\xfe\n", b"a\n" * 3000],
)
def test_a_file_of_another_form(tmp_path, content):
    """Said without any of its content."""
    path = tmp_path / "account"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(Failed) as caught:
        credentials.read(str(path), {})
    assert (
        str(caught.value)
        == f"credentials file {path}: expected two lines in UTF-8, the user and the password"
    )


def test_a_file_of_another_user(tmp_path, monkeypatch):
    """The words say who has to be able to read it."""

    def refuse(path, *_flags):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(credentials.os, "open", refuse)
    with pytest.raises(Failed, match=f"Permission denied; expected a file that uid {os.geteuid()} may read"):
        credentials.read(str(tmp_path / "account"), {})


def test_no_file(tmp_path):
    """Missing, a directory, or a pipe that nobody writes to: said, and nothing hangs."""
    with pytest.raises(Failed, match="No such file"):
        credentials.read(str(tmp_path / "none"), {})
    with pytest.raises(Failed, match="expected a plain file"):
        credentials.read(str(tmp_path), {})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Failed, match="expected a plain file"):
        credentials.read(str(tmp_path / "pipe"), {})


def test_the_environment():
    """Both variables, if there is no file; else the words name all three ways."""
    known = {credentials.USER_VARIABLE: "reader", credentials.PASSWORD_VARIABLE: SECRET}
    assert credentials.read("", known).password == SECRET
    for name in known:
        with pytest.raises(Failed, match="set redfish"):
            credentials.read("", {name: "x"})


@pytest.mark.parametrize(
    ("url", "host", "port", "shown"),
    [
        ("https://bmc", "bmc", 443, "https://bmc"),
        ("https://10.0.0.1:8443/", "10.0.0.1", 8443, "https://10.0.0.1:8443"),
        ("https://[fe80::1]/redfish/v1", "fe80::1", 443, "https://[fe80::1]"),
    ],
)
def test_addresses(url, host, port, shown):
    """Names, and addresses of both kinds."""
    found = address.parse(url)
    assert (found.host, found.port, found.url) == (host, port, shown)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bmc",
        "http://bmc",
        "https://",
        "https://:443",
        "https://bmc:99999",
        "https://bmc/ui",
        "https://bmc?x",
        "https://bmc#x",
        f"https://reader:{SECRET}@bmc",
        "https://b mc",
        "https://bmc\n",
        "ftp://bmc",
        "https://[bmc]",
    ],
)
def test_no_addresses(url):
    """Anything else, plain HTTP above all, is refused, and never repeated."""
    with pytest.raises(ValueError, match=r"in it|only https|belong") as caught:
        address.parse(url)
    assert SECRET not in str(caught.value)
