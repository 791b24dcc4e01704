# SPDX-License-Identifier: Apache-2.0
"""The settings of the sources of pods: which is in use, what is refused, and in which words."""

import pytest

from services.calculator.fixed_names import AWAITED_MAX_NS
from services.metadata.cluster import choice
from services.metadata.cluster.label_names import parse_labels
from services.metadata.cluster.source import families, in_use, open_source
from services.metadata.settings import MetadataSettings
from wattline.errors import Fatal
from wattline.log import Log
from wattline.settings import load

CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.mark.parametrize(
    ("given", "has_token", "environ", "expected"),
    [
        (("auto", ""), False, {}, "off"),
        (("auto", ""), False, CLUSTER, "off"),
        (("auto", ""), True, {}, "off"),
        (("auto", ""), True, CLUSTER, "api"),
        (("auto", "/etc/config"), False, {}, "api"),
        (("off", "/etc/config"), True, CLUSTER, "off"),
        (("api", ""), False, {}, "api"),
        (("kubelet", ""), True, CLUSTER, "kubelet"),
        (("kubelet-legacy", ""), False, {}, "kubelet-legacy"),
    ],
)
def test_which_is_in_use(tmp_path, given, has_token, environ, expected):
    if has_token:
        (tmp_path / "token").write_text("t", encoding="ascii")
    assert choice.choose(*given, environ, tmp_path) == expected


def test_the_name_of_the_node():
    """As it is set, else as the manifest hands it in, else the setting `node`."""
    assert choice.node_name("a", "c", {"NODE_NAME": "b"}) == "a"
    assert choice.node_name("", "c", {"NODE_NAME": "b"}) == "b"
    assert choice.node_name("", "c", {}) == "c"


@pytest.mark.parametrize("name", ["n7", "ip-10-0-0-1.eu.example.com", "a" * 253])
def test_names_that_nodes_have(name):
    choice.check_node(name)


@pytest.mark.parametrize("name", ["N7", "n7,metadata.name=x", "n 7", "-n7", "n7-", "a/b", "a" * 254])
def test_names_that_no_node_has(name):
    with pytest.raises(ValueError, match="lower-case"):
        choice.check_node(name)


def test_labels_are_a_list():
    """In their own order."""
    assert parse_labels("") == ()
    assert parse_labels("app, team,app.kubernetes.io/name") == ("app", "team", "app.kubernetes.io/name")
    assert len(parse_labels(",".join(f"l{number}" for number in range(16)))) == 16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (",".join(f"l{number}" for number in range(17)), "there are 17; at most 16"),
        ("app,", "there is an empty name"),
        ("app,app", "app is there twice"),
        ("a b", "letters, digits"),
        ("-app", "both ends"),
        ("app=web", "letters, digits"),
        ("a" * 64, "at most 63 characters"),
        ("Example.com/app", "no DNS name"),
        ("/app", "no DNS name"),
        ("a/b/app", "no DNS name"),
        ("a" * 254 + "/app", "no DNS name"),
        ("example.com/", "letters, digits"),
        ("äpp", "letters, digits"),
    ],
)
def test_labels_that_no_pod_has(text, said):
    with pytest.raises(ValueError, match=said):
        parse_labels(text)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WATTLINE_KUBERNETES", "yes", "one of auto, off, api, kubelet, kubelet-legacy"),
        ("WATTLINE_KUBERNETES_LABELS", "a b", "names of labels"),
        ("WATTLINE_KUBERNETES_NODE", "N7", "lower-case"),
        ("WATTLINE_KUBERNETES_KUBELET_ADDRESS", "http://127.0.0.1:10255", "only https"),
        ("WATTLINE_KUBERNETES_KUBELET_ADDRESS", "https://u:p@h", "a user in it"),
        ("WATTLINE_KUBERNETES_KUBELET_ADDRESS", "https://h/pods", "a path in it"),
        ("WATTLINE_KUBERNETES_KUBELET_ADDRESS", "https://:10250", "no host"),
        ("WATTLINE_KUBERNETES_KUBELET_ADDRESS", "https://h:x", "no host and port"),
        ("WATTLINE_KUBERNETES_PERIOD_S", "0", "1 to 300"),
        ("WATTLINE_KUBERNETES_NAME_GRACE_S", "-1", "0 to 60"),
        ("WATTLINE_KUBERNETES_NAME_GRACE_S", f"{AWAITED_MAX_NS / 1e9 + 1}", "0 to 60"),
    ],
)
def test_a_wrong_value_ends_the_service_with_its_cure(variable, value, said):
    with pytest.raises(Fatal, match=said):
        load(MetadataSettings, "metadata", [], {variable: value})


def test_a_file_has_the_names_in_quotes(tmp_path):
    """TOML takes `kubernetes` as a value or as a table, not as both."""
    path = tmp_path / "wattline.toml"
    path.write_text('[metadata]\nkubernetes = "api"\n"kubernetes.node" = "n7"\n', encoding="ascii")
    settings, warnings = load(MetadataSettings, "metadata", ["--config", str(path)], {})
    assert (settings.kubernetes, settings.kubernetes_node, warnings) == ("api", "n7", [])


def test_only_a_source_in_use_needs_a_network(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert families(MetadataSettings()) == ()
    assert in_use(MetadataSettings()) == "off"
    assert open_source(MetadataSettings(), Log("metadata"), lambda _event, _cause: None) is None
    for way in ("api", "kubelet", "kubelet-legacy"):
        assert [one.name for one in families(MetadataSettings(kubernetes=way))] == [
            "AF_INET",
            "AF_INET6",
            "AF_NETLINK",
        ]
