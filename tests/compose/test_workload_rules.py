# SPDX-License-Identifier: Apache-2.0
"""Watts and joules by namespace and workload: Prometheus' own test of the rules, on series as scraped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .stack import ROOT

PROMTOOL = Path(sys.executable).with_name("promtool")
HOUR, END = 60, 120  # minutes
WEB, SHORT, BARE, FOREIGN = "web-1", "job-1", "bare", "web-2"


def labels(name, **more):
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in more.items()) + "}"


def joules(pod, values, instance="n1", zone="package", **more):
    """A pod's counter; its uid is its name with a number."""
    named = {"pod_uid": f"uid-of-{pod}", "pod_name": pod, "namespace": "shop"} | more
    series = labels(
        "wattline_pod_joules_total",
        instance=instance,
        **named,
        zone=zone,
        mode="dynamic",
        source="rapl-sysfs",
    )
    return {"series": series, "values": values}


def info(pod, owner, values, instance="n1"):
    named = {"pod_uid": f"uid-of-{pod}", "pod_name": pod, "namespace": "shop"}
    kind, name = owner or ("", "")
    series = labels("wattline_pod_info", instance=instance, **named, owner_kind=kind, owner_name=name)
    return {"series": series, "values": values}


def built(instance, values):
    return {"series": labels("wattline_build_info", instance=instance, version="1"), "values": values}


# A reading each minute, for two hours.
SERIES = [
    built("n1", "1x120"),
    # 2 W and 1 W, and a zone that overlaps
    joules(WEB, "0+120x120"),
    joules(WEB, "0+60x120", zone="dram"),
    joules(WEB, "0+999x120", zone="core"),
    info(WEB, ("Deployment", "web"), "1x120"),
    # A pod that had used all it ever did when it was first scraped, and ended
    joules(SHORT, "_x100 500x5 stale"),
    info(SHORT, ("CronJob", "nightly"), "_x100 1x5 stale"),
    # Without an owner; begins at 200 J within the hour, at 0.5 W
    joules(BARE, "_x90 200+30x30"),
    info(BARE, None, "_x90 1x30"),
    # A node that Prometheus has known for twenty minutes: what its pod used before isn't of the last hour
    built("n2", "_x100 1x20"),
    joules(FOREIGN, "_x100 1000000+60x20", instance="n2"),
    info(FOREIGN, ("Deployment", "web"), "_x100 1x20", instance="n2"),
]
FOREIGN_J = 60 * 20.5  # increase() adds half an interval before the first sample


def expected(rule, *rows):
    return {
        "expr": rule,
        "eval_time": f"{END}m",
        "exp_samples": [
            {"labels": labels(rule, **{"mode": "dynamic", **row}), "value": value} for row, value in rows
        ],
    }


def owned(kind, name):
    return {"namespace": "shop", "owner_kind": kind, "owner_name": name}


EXPECTED = [
    expected("wattline:namespace_watts", ({"namespace": "shop"}, 3 + 0.5 + 1)),
    expected(
        "wattline:workload_watts",
        (owned("Deployment", "web"), 3 + 1),
        ({"namespace": "shop"}, 0.5),
    ),
    expected(
        "wattline:namespace_joules:1h", ({"namespace": "shop"}, 180 * 60 + 500 + (200 + 30 * 30) + FOREIGN_J)
    ),
    expected(
        "wattline:workload_joules:1h",
        (owned("Deployment", "web"), 180 * 60 + FOREIGN_J),
        (owned("CronJob", "nightly"), 500),
        ({"namespace": "shop"}, 200 + 30 * 30),
    ),
]


def promtool(directory, tests):
    """Its verdict on the rules; JSON is YAML as well."""
    document = {
        "rule_files": [str(ROOT / "monitoring/rules.yml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": SERIES, "promql_expr_test": tests}],
    }
    path = directory / "test.yml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return subprocess.run([PROMTOOL, "test", "rules", path], capture_output=True, text=True)


@pytest.mark.parametrize("test", EXPECTED, ids=lambda test: test["expr"])
def test_the_rules_add_up(tmp_path, test):
    """Owners by their pods' info; nothing twice; a pod of one scrape with all it used."""
    result = promtool(tmp_path, [test])
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_is_asked(tmp_path):
    """Another figure is found to be wrong."""
    wrong = expected("wattline:namespace_watts", ({"namespace": "shop"}, 5))
    assert promtool(tmp_path, [wrong]).returncode != 0
