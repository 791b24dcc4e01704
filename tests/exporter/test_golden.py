# SPDX-License-Identifier: Apache-2.0
"""A whole /metrics against a file that a person has read, and against other programs' readers."""

import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families

from services.exporter import scrape
from services.exporter.inputs import Inputs
from services.exporter.self_metrics import HttpCounts
from wattline import __version__
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import SourceState

from .frames import NOW_NS, ZONE_NAMES, books, closed_books, metadata, small, status

FIXTURES = Path(__file__).parent / "fixtures"


def whole() -> bytes:
    inputs = Inputs(
        energy=small(),
        metadata=metadata(sources=[SourceState(name="cgroups", up=True)]),
        statuses={
            "calculator": status(
                "calculator", frames_lost={"activity": 3}, useful_mono_ns=NOW_NS - 500_000_000, failed_turns=2
            ),
            "exporter": status("exporter", frames_refused={"invalid": 1}, errors={"retry": 2, 'a"\n': 1}),
            "power": status("power", mono_ns=NOW_NS - 60_000_000_000),
        },
    )
    return scrape.text(inputs, HttpCounts({200: 3, 503: 1}, 2), "x86_64", NOW_NS)


def all_zones() -> bytes:
    """Every name that there can be."""
    zones = [(zone, "0", "estimator") for zone in ZONE_NAMES]
    none = [0] * len(zones)
    containers = [("c", "uid", "docker", 1, none, none)]
    doubt = {
        "share_by": ["model"] * len(zones),
        "model_error_ratio_ppm": U32([1] * len(zones)),
        "idle_method": ["learned"] * len(zones),
        "idle_doubt_uw": U64([1] * len(zones)),
        "interpolation_uj": U64([1] * len(zones)),
        "join_skew_ns": U64([1] * len(zones)),
        "disagreement_uj": U64([1] * len(zones)),
        "is_owner": U8([1] * len(zones)),
        "takeovers": U32([1] * len(zones)),
        "integration_uj": U64([1] * len(zones)),
    }
    energy = books(
        zones,
        containers,
        [(0, 1, 1, "a", 1, none, none)],
        [(0, "idle", "idle_policy", 1)],
        vm_ids=["v"],
        units=["a.service"],
        doubt=doubt,
        activity_skew_ns=1,
    )
    return scrape.text(Inputs(energy=energy), HttpCounts({}, 0), "x86_64", NOW_NS)


PROMTOOL = Path(sys.executable).with_name("promtool")


def promtool(text: bytes) -> list[str]:
    """Its findings about a text, one a line."""
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode().splitlines()


def test_golden(tmp_path):
    """The text of a small frame is the fixture, byte for byte."""
    text = whole().replace(f'version="{__version__}"'.encode(), b'version="VERSION"')
    got = tmp_path / "small.prom"
    got.write_bytes(text)
    expected = FIXTURES / "small.prom"
    assert text.decode() == expected.read_text(), f"if the change is meant: read {got}, copy it to {expected}"


def test_promtool_finds_only_what_is_known():
    """In Wattline's names promtool finds nothing, and in Kepler's exactly what the fixture lists."""
    lines = (FIXTURES / "promtool_known.txt").read_text().splitlines()
    known = {line.partition("#")[0].strip() for line in lines if not line.startswith("#")}
    assert all(line.startswith("kepler_") and "#" in line for line in lines if not line.startswith("#"))
    assert set(promtool(whole())) == known
    assert set(promtool(all_zones())) == known


def test_promtool_is_asked():
    """The check above would see a bad name: promtool objects to one."""
    assert promtool(b"# HELP a_counter A.\n# TYPE a_counter counter\na_counter 1\n")


def test_every_family_has_help_and_type():
    """Each series stands under its own HELP and TYPE, and no family is torn apart."""
    seen: list[str] = []
    for line in whole().decode().splitlines():
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2] == seen[-1]
        else:
            assert line.partition("{")[0].partition(" ")[0] == seen[-1]
    assert len(set(seen)) == len(seen)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(closed_books())
def test_any_frame_can_be_parsed(energy):
    """Whatever the names in a frame, prometheus-client's parser reads the whole text."""
    text = scrape.text(Inputs(energy=energy), HttpCounts({}, 0), "x86_64", NOW_NS)
    families = list(text_string_to_metric_families(text.decode()))
    assert {family.name for family in families} >= {"kepler_exporter_build_info", "wattline_build_info"}
    assert {comm for family in families for s in family.samples if (comm := s.labels.get("command"))} <= set(
        energy.processes.comm
    )
