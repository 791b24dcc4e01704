# SPDX-License-Identifier: Apache-2.0
"""CPU time of the node between two frames, by values alone."""

import pytest

from wattline.node_use import Impossible, NodeUse, Stretch, stretch

S = 1_000_000_000


def test_a_new_epoch_that_began_earlier_counts_no_time_twice():
    """Of a probe that began to count before the last one stopped, only the later part is added."""
    between = stretch(
        NodeUse(1000 * S, 50 * S, epoch=900 * S, cpus=2), NodeUse(1010 * S, 10 * S, epoch=990 * S, cpus=2)
    )
    assert between == Stretch(busy_ns=5 * S, capacity_ns=20 * S, gap=True)


@pytest.mark.parametrize("percent", [101, 110, 120])
def test_a_little_more_than_all_cpus_is_all_cpus(percent):
    """The skew between CPUs' stamps may show more CPU time than there was; power stays that of full use."""
    between = stretch(NodeUse(S, 0, 0), NodeUse(2 * S, 2 * S * percent // 100, 0, cpus=2))
    assert between == Stretch(2 * S, 2 * S)


@pytest.mark.parametrize(
    ("current", "complaint"),
    [
        (NodeUse(2 * S, 9 * S, 0, cpus=2), "CPU time fell"),
        (NodeUse(2 * S, 12 * S + 500_000_000, 0, cpus=2), "all CPUs busy"),
        (NodeUse(2 * S, 10 * S, 0, cpus=0), "no CPU"),
        (NodeUse(2 * S, 10 * S, epoch=3 * S, cpus=2), "no CPU"),
    ],
)
def test_usage_that_cant_be_is_refused(current, complaint):
    """Each with a reason that says what was expected."""
    between = stretch(NodeUse(S, 10 * S, 0), current)
    assert isinstance(between, Impossible)
    assert complaint in between.reason
