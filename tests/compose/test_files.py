# SPDX-License-Identifier: Apache-2.0
"""The Compose files and what they hand to others, checked without starting anything."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.power.settings import PowerSettings
from wattline.pipeline import SERVICES
from wattline.power_streams import parse_power_streams
from wattline.settings import load

from .stack import ROOT

GROUP = 60600
ALONE = ["compose.yaml"]
MONITORED = ["compose.yaml", "compose.monitoring.yaml"]
NAMED = ["compose.yaml", "compose.names.yaml"]


def as_json(text: str):
    """YAML as Debian's own Python reads it, which brings docker-compose's parser along."""
    script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    result = subprocess.run(
        ["/usr/bin/python3", "-c", script], input=text, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def resolved(files):
    """The files as Compose understands them; it holds them against its schema."""
    result = config(files, DOCKER_GROUP="999")
    assert result.returncode == 0, result.stderr
    return as_json(result.stdout)


def config(files, **environment):
    """What Compose says to the files."""
    command = ["/usr/bin/docker-compose", *(word for name in files for word in ("-f", name)), "config"]
    environment["PATH"] = "/usr/bin:/bin"
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services():
    return resolved(ALONE)["services"]


def test_the_files_say_no_version():
    """Compose v2 warns of one, and v1 since 1.27 needs none."""
    for name in {*MONITORED, *NAMED}:
        assert "version" not in as_json((ROOT / name).read_text(encoding="utf-8"))


def test_no_service_has_an_empty_list():
    """Compose 2.26, which is Debian 13's, loses one when it merges files, and then refuses what is left."""
    for name in {*MONITORED, *NAMED}:
        for service in as_json((ROOT / name).read_text(encoding="utf-8"))["services"].values():
            assert [] not in service.values(), name


@pytest.mark.parametrize("files", [ALONE, MONITORED, NAMED], ids=["alone", "monitored", "named"])
def test_nobody_has_more_than_is_said(files):
    """No privileged container, a root file system that can't be written to, and ports on loopback alone."""
    for name, service in resolved(files)["services"].items():
        assert not service.get("privileged"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        assert "depends_on" not in service, name  # who is replaced would take others along
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        sees_docker = any("docker.sock" in str(volume) for volume in service.get("volumes", []))
        assert sees_docker == (files is NAMED and name == "metadata"), name


def test_only_metadata_has_dockers_socket_and_only_on_request(services):
    """One mount, read-only, and the group that may open it: without which Compose says what it expects."""
    named = resolved(NAMED)["services"]

    def in_any_order(service):
        return {key: sorted(told) if isinstance(told, list) else told for key, told in service.items()}

    changed = {name for name in named if in_any_order(named[name]) != in_any_order(services[name])}
    assert changed == {"metadata"}
    metadata, before = in_any_order(named["metadata"]), in_any_order(services["metadata"])
    assert {key for key in metadata if metadata[key] != before.get(key)} == {
        "environment",
        "group_add",
        "volumes",
    }
    assert metadata["group_add"] == ["999"]
    assert metadata["environment"] == before["environment"] | {"WATTLINE_DOCKER_SOCKET": "/run/docker.sock"}
    added = [volume for volume in named["metadata"]["volumes"] if volume not in before["volumes"]]
    assert added == ["/var/run/docker.sock:/run/docker.sock:ro"]
    result = config(NAMED)
    assert result.returncode != 0
    assert "stat -c %g /var/run/docker.sock" in result.stderr


def test_who_has_which_capability(services):
    """As the architecture names them."""
    added = {name: service.get("cap_add", []) for name, service in services.items()}
    assert added == {
        "probe": ["BPF", "PERFMON"],
        "power": ["DAC_READ_SEARCH"],
        "power-bmc": [],
        "metadata": [],
        "calculator": [],
        "exporter": [],
    }


def test_who_has_a_network(services):
    """The exporter; and power-bmc, alone in one of its own. The others talk through shared memory."""
    networks = {
        name: sorted(service.get("networks", ["default"]))
        for name, service in services.items()
        if service.get("network_mode") != "none"
    }
    assert networks == {"exporter": ["default"], "power-bmc": ["bmc"]}


def test_the_bmcs_service_starts_on_request_alone(services):
    """Behind a profile, with the password's file for itself, and with no sight of the host's /sys."""
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        "power-bmc": ["bmc"]
    }
    holders = [name for name, service in services.items() if "/run/secrets/" in str(service["volumes"])]
    assert holders == ["power-bmc"]
    bmc = services["power-bmc"]
    assert bmc["volumes"] == ["run:/run/wattline:rw", "/dev/null:/run/secrets/bmc:ro"]
    assert bmc["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in bmc
    assert bmc["environment"]["WATTLINE_NAME"] == "power-bmc"
    assert not [value for value in bmc["environment"].values() if "password" in value]


def test_one_variable_names_the_streams_for_all(services):
    """Readers and the stream itself have the same setting, which is empty by default: not set."""
    default = {service["environment"]["WATTLINE_POWER_STREAMS"] for service in services.values()}
    assert default == {""}
    said = "power-bmc:60610=platform"
    result = config(ALONE, WATTLINE_POWER_STREAMS=said)
    resolved_services = as_json(result.stdout)["services"].values()
    assert {service["environment"]["WATTLINE_POWER_STREAMS"] for service in resolved_services} == {said}
    stream = parse_power_streams(said).find("power-bmc")
    assert services["power-bmc"]["user"] == f"{stream.uid}:{GROUP}"
    settings = load(PowerSettings, "power", [], resolved(ALONE)["services"]["power-bmc"]["environment"])[0]
    assert settings.name == "power-bmc"
    assert said in (ROOT / "docs/compose.md").read_text(encoding="utf-8")


def test_who_sees_the_hosts_processes(services):
    """Those that name them."""
    assert {name for name, service in services.items() if service.get("pid") == "host"} == {
        "probe",
        "metadata",
    }


def test_all_meet_in_one_place(services):
    """One volume, one WATTLINE_RUN, one node name that outlives a container."""
    for service in services.values():
        assert "run:/run/wattline:rw" in service["volumes"]
        assert service["environment"]["WATTLINE_RUN"] == "/run/wattline"
        assert service["environment"]["WATTLINE_NODE"] == "localhost"


def test_users_are_numbered_as_names_are_guarded(services):
    """The group and the place in the pipeline, in both files; the probe is root (wattline/wire/rundir.py).

    The extra power stream has a number beyond them.
    """
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    images = dict(re.findall(r"FROM service AS ([\w-]+)\n.*?\nUSER (\S+)\n", text, flags=re.DOTALL))
    wanted = {name: f"{GROUP + place}:{GROUP}" for place, name in enumerate(SERVICES)}
    wanted |= {"probe": f"0:{GROUP}", "power-bmc": f"{GROUP + 10}:{GROUP}"}
    assert images == wanted
    assert {name: service["user"] for name, service in services.items()} == wanted


def test_only_powers_image_gives_a_capability():
    """The image of power-bmc has the same code, without the capability in its program's file."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    images = dict(re.findall(r"FROM service AS ([\w-]+)\n(.*?)\nCMD", text, flags=re.DOTALL))
    assert [name for name, lines in images.items() if "security.capability" in lines] == ["power"]
    assert "COPY --from=power-bmc-build" in images["power-bmc"]
    assert '"health", "power-bmc"' in images["power-bmc"]


def test_every_image_installs_its_own_lock_alone():
    """Of Debian's and Python's packages, each target names its own; hashes are compared."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for service in SERVICES:
        (stage,) = re.findall(rf"FROM [\w-]+ AS {service}-build\n(.*?)\n\n", text, flags=re.DOTALL)
        wanted = [service, "kubernetes"] if service == "metadata" else [service]
        assert re.findall(r"--requirement /(\w+)\.txt", stage) == wanted
    for command in re.findall(r"pip (?:install|wheel) [^&\n]*", text):
        assert "--require-hashes" in command or "--no-deps" in command, command
    assert text.count("python3-bpfcc") == 1
    assert "FROM bcc AS probe-build" in text
    assert re.findall(r"FROM bcc AS (\S+)", text) == ["probe-build"]


def test_prometheus_takes_its_configuration(tmp_path):
    """promtool reads it with the rules, from where Compose puts both."""
    for name in ("prometheus.yml", "rules.yml"):
        (tmp_path / name).write_bytes((ROOT / "monitoring" / name).read_bytes())
    for command in (["config", tmp_path / "prometheus.yml"], ["rules", tmp_path / "rules.yml"]):
        result = subprocess.run(
            [Path(sys.executable).with_name("promtool"), "check", *command], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_rules_ask_for_what_the_exporter_has():
    """Every series in a rule is a counter of a scrape's, or an info; every one on a dashboard a rule's."""
    scrape = (ROOT / "tests/exporter/fixtures/small.prom").read_text(encoding="utf-8")
    groups = as_json((ROOT / "monitoring/rules.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        for name in re.findall(r"\b(?:kepler|wattline)_\w+", rule["expr"]):
            kind = "gauge" if name.endswith("_info") else "counter"
            assert f"# TYPE {name} {kind}\n" in scrape
    recorded = {rule["record"] for rule in rules}
    for path in (ROOT / "dashboards").glob("*.json"):
        asked = re.findall(r"\bwattline:\w+", path.read_text(encoding="utf-8"))
        assert asked
        assert set(asked) <= recorded


def test_grafana_finds_source_and_dashboards():
    """What is provisioned is where Compose mounts it, and dashboards name the source that there is."""
    monitored = resolved(MONITORED)["services"]
    mounted = {volume.split(":")[1]: Path(volume.split(":")[0]) for volume in monitored["grafana"]["volumes"]}
    provisioning = "/etc/grafana/provisioning"
    (source,) = as_json(mounted[f"{provisioning}/datasources/wattline.yml"].read_text(encoding="utf-8"))[
        "datasources"
    ]
    (provider,) = as_json(mounted[f"{provisioning}/dashboards/wattline.yml"].read_text(encoding="utf-8"))[
        "providers"
    ]
    assert source["url"] == "http://prometheus:9090"
    dashboards = list(mounted[provider["options"]["path"]].glob("*.json"))
    assert dashboards
    for path in dashboards:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
