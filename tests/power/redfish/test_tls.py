# SPDX-License-Identifier: Apache-2.0
"""Whom the source trusts with the password."""

import contextlib
import socket
import ssl
import threading

import pytest

from services.power.source import Level

from .authority import Authority
from .bmc import Bmc
from .world import Rounds


@pytest.fixture
def other(tmp_path) -> Authority:
    return Authority(tmp_path / "other")


def refused(bmc, clock, **changed) -> str:
    """The reason for which a BMC isn't used. It must have got no request."""
    with Rounds(bmc, clock, **changed) as source:
        readings = source.round()
        assert not readings.state.up
        assert bmc.seen == []
        return readings.state.reason


def test_an_authority_that_is_not_named(bmc, clock, other):
    """A certificate of anybody's making is refused, with the setting that would allow it."""
    reason = refused(bmc, clock, redfish_ca_file=str(other.ca_file))
    assert f"the certificate of {bmc.url} is refused: unable to get local issuer certificate" in reason
    assert "redfish.ca-file" in reason


def test_the_systems_authorities_are_the_default(bmc, clock):
    """Without a file of our own, an unknown authority is refused as well."""
    assert "is refused" in refused(bmc, clock, redfish_ca_file="")


def test_an_expired_certificate(bmc, clock, authority):
    """Said as such."""
    bmc.use(*authority.certificate(expired=True))
    assert "is refused: certificate has expired" in refused(bmc, clock)


def test_a_certificate_for_another_host(bmc, clock, authority):
    """Said as such, with the host that was asked for."""
    bmc.use(*authority.certificate("bmc.example"))
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in refused(bmc, clock)


def test_a_host_by_its_name(bmc, clock, authority):
    """The name in the address is the one that the certificate must be for."""
    bmc.use(*authority.certificate("localhost"))
    with Rounds(bmc, clock, redfish_url=f"https://localhost:{bmc.port}") as source:
        assert source.round().state.up


def test_the_bmcs_own_certificate_can_be_trusted(bmc, clock, authority, tmp_path):
    """A file with the very certificate that the BMC shows is enough: most BMCs sign theirs themselves."""
    certificate, key = authority.certificate()
    bmc.use(certificate, key)
    with Rounds(bmc, clock, redfish_ca_file=str(certificate)) as source:
        assert source.round().state.up
    bmc.seen[:] = []
    bmc.use(*authority.certificate())
    assert "is refused" in refused(bmc, clock, redfish_ca_file=str(certificate))


def test_a_new_file_of_authorities_needs_no_restart(bmc, clock, authority, other, tmp_path):
    """The file is read again once it has changed."""
    path = tmp_path / "ca.pem"
    path.write_bytes(other.ca_file.read_bytes())
    with Rounds(bmc, clock, redfish_ca_file=str(path)) as source:
        assert not source.round().state.up
        path.write_bytes(authority.ca_file.read_bytes() + other.ca_file.read_bytes())
        assert source.round().state.up


def test_a_file_of_authorities_that_is_none(bmc, clock, tmp_path):
    """Missing or of another kind: said with its path."""
    empty = tmp_path / "empty.pem"
    empty.touch()
    assert refused(bmc, clock, redfish_ca_file=str(tmp_path / "no.pem")).endswith("No such file or directory")
    assert "there is no certificate in it" in refused(bmc, clock, redfish_ca_file=str(empty))


def test_no_verification_is_loud(bmc, clock, other):
    """It works, with a warning at each start and a word in the source's reason for as long as it lasts."""
    bmc.use(*other.certificate("elsewhere.example", expired=True))
    with Rounds(bmc, clock, redfish_verify=False) as source:
        for _round in range(3):
            state = source.round().state
            assert state.up
            assert "the BMC's certificate isn't verified" in state.reason
        (note,) = [note for note in source.notes if note.event == "redfish_unverified"]
        assert note.level is Level.WARNING
        assert "set redfish.ca-file" in note.cause


def test_an_old_tls_version_is_refused(bmc, clock):
    """TLS 1.1 has been out of use since 2021 (RFC 8996)."""
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        bmc.context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "TLS with" in refused(bmc, clock)


def test_a_server_without_tls(bmc, clock):
    """Something else listens there: said, nothing sent."""
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve():
            with contextlib.suppress(OSError):
                peer, _place = plain.accept()
                with peer:
                    peer.recv(100)
                    peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        reason = refused(bmc, clock, redfish_url=f"https://127.0.0.1:{plain.getsockname()[1]}")
        thread.join(5)
    assert "TLS with" in reason


def test_a_redirection_gets_no_token(bmc, clock, authority):
    """Neither the password nor the session's token go to another host, whatever the BMC says."""
    with Bmc(authority, now_ns=clock.monotonic_ns) as thief, Rounds(bmc, clock) as source:
        source.rounds(2)
        bmc.elsewhere, bmc.fault, bmc.everywhere = thief.url, "redirect-away", True
        assert "redirects to another place" in source.round().state.reason
        bmc.sessions.clear()
        source.rounds(3)
        assert thief.seen == []


def test_a_link_to_another_host_is_not_followed(bmc, clock, authority):
    """Links are paths of the BMC itself; one that isn't is no link."""
    with Bmc(authority, now_ns=clock.monotonic_ns) as thief, Rounds(bmc, clock) as source:
        tree = bmc.tree()
        for bad in (
            f"{thief.url}/redfish/v1/x",
            f"//127.0.0.1:{thief.port}/x",
            f"@127.0.0.1:{thief.port}/redfish",
        ):
            body = tree["/redfish/v1/Chassis/Self"] | {"EnvironmentMetrics": {"@odata.id": bad}}
            bmc.extra = {"/redfish/v1/Chassis/Self": body}
            assert "neither power nor energy" in source.round().state.reason
        assert thief.seen == []


def test_proxies_and_netrc_are_left_alone(bmc, clock, tmp_path, monkeypatch):
    """The environment of the service must not send the password elsewhere, nor add another one."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for method in ("session", "basic"):
        with Rounds(bmc, clock, redfish_auth=method) as source:
            assert source.rounds(2).state.up
