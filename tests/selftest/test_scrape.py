# SPDX-License-Identifier: Apache-2.0
"""What `wattline selftest` reads from a scrape."""

import pytest

from wattline.selftest.scrape import gauges, read, residuals_uj, total_uj, watermark_unix_s

TEXT = b"""\
# HELP kepler_node_package_joules_total x
kepler_node_package_joules_total{package="0",source="rapl-sysfs",mode="dynamic"} 3.000001
kepler_node_package_joules_total{package="0",source="rapl-sysfs",mode="idle"} 20
kepler_container_package_joules_total{container_id="a{b=\\"}",mode="dynamic"} 1.000000
kepler_container_package_joules_total{container_id="c",mode="dynamic"} 1.5
kepler_container_joules_total{container_id="c",mode="dynamic"} 7
wattline_unattributed_joules_total{zone="package",mode="idle",reason="idle_policy"} 20
wattline_unattributed_joules_total{zone="package",mode="dynamic",reason="no_activity"} 0.5
wattline_zone_watermark_timestamp_seconds{zone="package",index="0",source="rapl-sysfs"} 1700000002.5
wattline_zone_watermark_timestamp_seconds{zone="dram",index="0",source="rapl-sysfs"} 1700000001.25
"""


def test_the_residual_is_found_to_the_microjoule():
    """Node 23.000001 J, containers 2.5 J, unattributed 20.5 J: one microjoule is nobody's."""
    assert residuals_uj(read(TEXT)) == {"package": 1}
    assert residuals_uj(read(TEXT.replace(b"3.000001", b"3.0"))) == {"package": 0}
    assert residuals_uj([]) == {}


def test_what_awaits_a_name_is_no_residual():
    """Of the level of containers; that of pods holds some of it again."""
    waits = b'wattline_awaiting_names_joules{zone="package",mode="dynamic",level="%s"} 0.000001\n'
    assert residuals_uj(read(TEXT + waits % b"container" + waits % b"pod")) == {"package": 0}


def test_totals_are_by_the_labels_asked_for():
    """Whatever other labels there are; 0 for what isn't there."""
    name = "kepler_container_package_joules_total"
    assert total_uj(read(TEXT), name, mode="dynamic") == 2_500_000
    assert total_uj(read(TEXT), name, container_id="c") == 1_500_000
    assert total_uj(read(TEXT), name, container_id="d") == 0


def test_the_watermark_is_the_slowest_zones():
    """And 0 while there is none."""
    assert watermark_unix_s(read(TEXT)) == 1700000001.25
    assert watermark_unix_s([]) == 0


def test_what_is_no_scrape_is_refused():
    """A torn line, and a gauge that a zone has twice."""
    with pytest.raises(ValueError, match="expected a series"):
        read(b"kepler_node_package_joules_total{")
    twice = read(b'x{zone="dram",index="0"} 1\nx{zone="dram",index="1"} 2\n')
    with pytest.raises(ValueError, match="expected one x of zone dram"):
        gauges(twice, "x")
