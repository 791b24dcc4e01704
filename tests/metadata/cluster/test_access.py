# SPDX-License-Identifier: Apache-2.0
"""Tokens that rotate, certificates that are not accepted, and kubeconfigs."""

import base64
import importlib
import json

import pytest

from tests.power.redfish.authority import Authority

from .objects import NODE, pod
from .server import KUBELET, LIST, WATCH
from .test_faults import kubelet
from .world import eventually, names


def test_a_token_that_rotates_is_read_anew(world):
    """Each request has the token that is in the file then: a projected one lasts an hour or so."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.write_token("token-2")
    world.cluster.tokens = {"token-2"}
    world.cluster.end_watches()
    eventually(lambda: len(world.cluster.seen(WATCH)) >= 2, source)
    world.cluster.put(pod("web-2"))
    eventually(lambda: "web-2" in names(source), source)
    assert [one.token for one in world.cluster.seen(WATCH)][-1:] == ["token-2"]
    assert world.counted == {}


def test_401_after_a_rotation_heals_by_the_next_token(world):
    """The server refuses the old token before the new one is in the file."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    eventually(lambda: world.cluster.seen(WATCH), source)
    world.cluster.tokens = {"token-2"}
    world.cluster.end_watches()
    eventually(lambda: "HTTP 401: the API server refuses the token" in source.state().reason)
    assert names(source) == {"web-1"}
    world.write_token("token-2")
    eventually(lambda: source.state().up)
    assert len(world.cluster.seen(LIST)) == 1


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_a_service_account_without_its_files_is_said(world, name):
    """And taken once they are there."""
    world.cluster.put(pod("web-1"))
    kept = (world.account / name).read_bytes()
    (world.account / name).unlink()
    source = world.open()
    eventually(lambda: f"the service account in {world.account} can't be used" in source.state().reason)
    (world.account / name).write_bytes(kept)
    eventually(lambda: source.state().up)


def test_an_empty_authority_is_said(world):
    (world.account / "ca.crt").write_bytes(b"nothing\n")
    source = world.open()
    eventually(lambda: "ca.crt: there is no certificate in it" in source.state().reason)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "other authority",
            "self-signed certificate in certificate chain|unable to get local issuer certificate",
        ),
        ("other host", "IP address mismatch"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_wrong_certificate_gets_no_token(world, tmp_path, kind, said):
    """The cure names the file; a certificate in order is taken without a restart."""
    world.cluster.put(pod("web-1"))
    authority = Authority(tmp_path / "other") if kind == "other authority" else world.cluster.authority
    host = "10.9.9.9" if kind == "other host" else "127.0.0.1"
    world.cluster.use_certificate(*authority.certificate(host, expired=kind == "expired"))
    source = world.open()
    eventually(lambda: "TLS: the certificate of the API server" in source.state().reason)
    assert any(one in source.state().reason for one in said.split("|"))
    assert world.cluster.requests == []
    world.cluster.use_certificate(*world.cluster.authority.certificate())
    eventually(lambda: source.state().up)


def test_a_new_authority_is_taken_from_the_changed_file(world, tmp_path):
    """As when a cluster changes its certificates."""
    world.cluster.put(pod("web-1"))
    source = world.open()
    eventually(source.has_told, source)
    other = Authority(tmp_path / "other")
    world.cluster.use_certificate(*other.certificate())
    world.cluster.cut()
    eventually(lambda: "TLS" in source.state().reason)
    world.write_ca(other.ca_file)
    eventually(lambda: source.state().up)


def test_the_kubelet_is_verified_by_the_nodes_name(world):
    """On a loopback address no certificate is for that address."""
    world.cluster.put(pod("web-1"))
    address = f"https://127.0.0.1:{world.cluster.port}"
    source = world.open("kubelet", kubelet_address=address)
    eventually(
        lambda: (
            f"kubernetes.kubelet-ca-file to the authority that signed it for {NODE}" in source.state().reason
        )
    )
    assert world.cluster.requests == []
    world.cluster.use_certificate(*world.cluster.authority.certificate(NODE))
    eventually(lambda: source.state().up)
    assert source.state().reason == ""


def test_a_kubelets_own_certificate_by_a_file(world, tmp_path):
    """Not signed by the cluster's authority, as where no bootstrap is set up."""
    world.cluster.put(pod("web-1"))
    own = Authority(tmp_path / "own")
    world.cluster.use_certificate(*own.certificate(NODE))
    address = f"https://127.0.0.1:{world.cluster.port}"
    refused = world.open("kubelet", kubelet_address=address)
    eventually(lambda: "TLS" in refused.state().reason)
    source = world.open("kubelet", kubelet_address=address, kubelet_ca_file=str(own.ca_file))
    eventually(lambda: source.state().up)


def test_verification_turned_off_is_loud(world):
    """A warning, and beside the state as long as it is so."""
    world.cluster.put(pod("web-1"))
    source = world.open("kubelet", **kubelet(world, "kubelet"))
    eventually(lambda: source.state().up)
    assert "isn't verified" in source.state().reason
    assert world.counted["kubernetes_unverified"] == 1


def kubeconfig(world, *, user=None, inline=True, **cluster):
    """A kubeconfig in JSON, which is YAML."""
    ca = world.cluster.authority.ca_file
    place = (
        {"certificate-authority-data": base64.b64encode(ca.read_bytes()).decode("ascii")}
        if inline
        else {"certificate-authority": str(ca)}
    )
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "own", "user": "wattline"}}],
        "clusters": [
            {
                "name": "own",
                "cluster": {"server": f"https://127.0.0.1:{world.cluster.port}"} | place | cluster,
            }
        ],
        "users": [{"name": "wattline", "user": {"token": "token-1"} if user is None else user}],
    }
    path = world.directory / "kubeconfig"
    path.write_text(json.dumps(content), encoding="ascii")
    return str(path)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("way", ["api", "kubelet"])
def test_a_kubeconfig_from_outside(world, inline, way):
    """Its inline certificates are files for a moment only."""
    world.cluster.put(pod("web-1"))
    world.cluster.use_certificate(*world.cluster.authority.certificate())
    own = (
        {"kubelet_address": f"https://127.0.0.1:{world.cluster.port}", "node": NODE}
        if way == "kubelet"
        else {}
    )
    if way == "kubelet":
        world.cluster.use_certificate(*world.cluster.authority.certificate(NODE))
    source = world.open(way, kubeconfig=kubeconfig(world, inline=inline), **own)
    eventually(lambda: source.state().up)
    assert names(source) == {"web-1"}
    assert list(world.scratch.iterdir()) == []


def test_a_kubeconfig_that_changes_is_read_anew(world):
    world.cluster.put(pod("web-1"))
    path = kubeconfig(world, user={"token": "token-0"})
    source = world.open(kubeconfig=path)
    eventually(lambda: "refuses the token of the kubeconfig's user" in source.state().reason)
    kubeconfig(world)
    eventually(lambda: source.state().up)


def test_a_token_file_of_a_kubeconfig_is_read(world):
    world.cluster.put(pod("web-1"))
    source = world.open(kubeconfig=kubeconfig(world, user={"tokenFile": str(world.account / "token")}))
    eventually(lambda: source.state().up)


def test_a_client_certificate_counts(world):
    """Inline as kind and k3s write it. The server sees who asks by it."""
    certificate, key = world.cluster.authority.certificate("wattline")
    user = {
        "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode("ascii"),
        "client-key-data": base64.b64encode(key.read_bytes()).decode("ascii"),
    }
    world.cluster.with_client_certificates()
    world.cluster.put(pod("web-1"))
    source = world.open(kubeconfig=kubeconfig(world, user=user))
    eventually(lambda: source.state().up)
    assert list(world.scratch.iterdir()) == []
    files = importlib.import_module("kubernetes.config.kube_config")._temp_files
    assert files == {}, "the package knows no key any more"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"user": {"exec": {"command": "aws", "apiVersion": "v1"}}}, "gets a token from a program (exec)"),
        ({"user": {"auth-provider": {"name": "oidc"}}}, "gets a token from a program (auth-provider)"),
        ({"user": {}}, "HTTP 401: the API server wants a token, and the kubeconfig's user has none"),
        ({"server": "http://127.0.0.1:1"}, "only https keeps the token from others"),
        ({"certificate-authority-data": "bm90aGluZw=="}, "its certificates can't be used"),
    ],
    ids=["exec", "oidc", "none", "http", "no-ca"],
)
def test_a_kubeconfig_of_no_use_is_said(world, spoil, said):
    source = world.open(kubeconfig=kubeconfig(world, **spoil))
    eventually(lambda: said in source.state().reason)


@pytest.mark.parametrize("content", ["", "nothing", "[]", "{", "a: [1", "users: 7\nsecret: s3cret", "\0"])
def test_any_file_as_a_kubeconfig_is_said(world, content):
    """Its content is never repeated."""
    path = world.directory / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    source = world.open(kubeconfig=str(path))
    eventually(lambda: f"kubernetes.kubeconfig {path}: " in source.state().reason)
    assert "s3cret" not in str(world.said)


def test_a_kubeconfig_that_is_missing_is_said(world):
    source = world.open(kubeconfig="/nowhere/config")
    eventually(
        lambda: source.state().reason == "kubernetes.kubeconfig /nowhere/config: No such file or directory"
    )


def test_an_unverified_cluster_is_loud(world):
    """insecure-skip-tls-verify in a kubeconfig counts, and is said."""
    world.cluster.put(pod("web-1"))
    path = kubeconfig(world, inline=False, **{"insecure-skip-tls-verify": True})
    source = world.open(kubeconfig=path)
    eventually(lambda: source.state().up)
    assert "the kubeconfig turns off verification" in source.state().reason


def test_an_unverified_kubelet_is_loud(world):
    """Without authorities of its own the kubelet is reached as the kubeconfig says, and that is said."""
    world.cluster.put(pod("web-1"))
    path = kubeconfig(world, inline=False, **{"insecure-skip-tls-verify": True})
    address = f"https://localhost:{world.cluster.port}"
    source = world.open("kubelet", kubeconfig=path, kubelet_address=address)
    eventually(lambda: source.state().up)
    assert "turns off verification of the kubelet's certificate" in source.state().reason


def test_no_secret_is_shown(world):
    """Not by an error, a state, a log, nor by an object's text form."""
    from services.metadata.cluster.package import of_service_account  # noqa: PLC0415 the package is optional

    identity = of_service_account(world.account, world.environ)
    assert identity.authorization == "bearer token-1"
    assert "token-1" not in repr(identity)
    world.cluster.tokens = set()
    for way in ("api", "kubelet"):
        source = world.open(way, **kubelet(world, way))
        eventually(lambda source=source: "401" in source.state().reason)
    assert "token-1" not in str(world.said)
    assert world.cluster.seen(KUBELET)
