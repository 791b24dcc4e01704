# SPDX-License-Identifier: Apache-2.0
"""What the e2e tests look for in every scrape is found: each fault once."""

import pytest

from tests.pipeline.metrics import Series

from .watching import Watching

_ONE = {"container_id": "a" * 64, "mode": "dynamic", "source": "rapl-sysfs"}
_NAMED = _ONE | {"pod_name": "web-1", "container_name": "web", "container_namespace": "shop"}
_UNNAMED = _ONE | {"pod_name": "", "container_name": "", "container_namespace": ""}


def scrape(node: int, container: int, waits: int, labels=_NAMED) -> list[Series]:
    found = [
        Series("kepler_node_package_joules_total", {"mode": "dynamic"}, node),
        Series(
            "wattline_awaiting_names_joules",
            {"zone": "package", "mode": "dynamic", "level": "container"},
            waits,
        ),
    ]
    return (
        [*found, Series("kepler_container_package_joules_total", labels, container)] if container else found
    )


GOOD = scrape(10, 7, 3)


class Scrapes:
    """What a pipeline gives at one scrape after the other."""

    def __init__(self, *scrapes: list[Series]) -> None:
        self._scrapes = iter(scrapes)

    def scrape(self) -> list[Series]:
        return next(self._scrapes)


def faults(*scrapes: list[Series]) -> list[str]:
    watching = Watching(Scrapes(*scrapes))
    for _scrape in scrapes:
        watching.next()
    return watching.faults


def test_names_that_come_late_are_no_fault():
    """First all waits, then some of it is shown, then more."""
    assert faults(scrape(5, 0, 5), GOOD, scrape(12, 12, 0)) == []


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        (scrape(11, 7, 3), "package: node 11, parts 10"),
        (scrape(10, 6, 4), "fell: "),
        (scrape(10, 0, 10), "missing: "),
        (scrape(10, 7, 3, _UNNAMED), "split: "),
        (scrape(10, 7, 3, _NAMED | {"pod_name": "web-2"}), "split: "),
    ],
)
def test_each_fault_is_found(after, fault):
    """A sum that is not the node's, a fall, a series that is gone, one that goes on by another name."""
    assert any(one.startswith(fault) for one in faults(GOOD, after))
