# SPDX-License-Identifier: Apache-2.0
"""The kernel's lists of CPUs."""

import pytest

from wattline.cpu_list import cpu_list


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", {0}),
        ("0-2,5\n", {0, 1, 2, 5}),
        ("8190-8191", {8190, 8191}),
        ("\n", set()),
        (" 7 ", {7}),
        ("3-3", {3}),
    ],
)
def test_a_list_of_cpus(text, cpus):
    """Numbers and ranges, as in sysfs."""
    assert cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["x", "1-", "-1", "2-1", "0-8192", "0-99999999999", "1,,2", "1 2"])
def test_a_list_of_cpus_that_is_none(text):
    """A torn list is an error, and numbers that no kernel has are one before they take memory."""
    with pytest.raises(ValueError, match="expected CPUs"):
        cpu_list(text)
