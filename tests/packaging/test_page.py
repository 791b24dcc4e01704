# SPDX-License-Identifier: Apache-2.0
"""docs/security.md says of the units what is in them, all of it."""

import pytest

from .page import codes, options, rows
from .units import ALL_IN_ONE, EACH, restrictions, words

UNITS = {**EACH, ALL_IN_ONE: ALL_IN_ONE}
# By PrivateNetwork=, IPAddressDeny= and IPAddressAllow=.
_NETWORKS = {
    ("yes", "any", ""): "none",
    ("", "any", "localhost"): "this machine",
    ("", "", ""): "every machine",
}


@pytest.mark.parametrize(("unit", "name"), UNITS.items(), ids=UNITS.keys())
def test_each_option_is_on_the_page_and_in_the_unit(unit, name):
    """The second table and the unit have the same options with the same values, in both directions."""
    assert options()[unit] == restrictions(name)


def test_the_page_has_no_other_units():
    """No row is about a unit that does not exist."""
    assert set(options()) == set(UNITS)
    assert [row[0] for row in rows("units")] == list(UNITS)


@pytest.mark.parametrize("row", rows("units"), ids=lambda row: row[0])
def test_the_first_table_is_what_the_units_grant(row):
    """User, capabilities, writable directories and network of each unit are those of its options."""
    unit, user, capabilities, writes, network, *_taken_over = row
    name = UNITS[unit]
    places = {bind.rpartition(":")[2] for bind in words(name, "Service", "BindPaths")}
    assert set(codes(user)) == words(name, "Service", "User")
    assert set(codes(capabilities)) == words(name, "Service", "CapabilityBoundingSet")
    assert set(codes(writes)) == places
    limits = ("PrivateNetwork", "IPAddressDeny", "IPAddressAllow")
    assert network == _NETWORKS[tuple(" ".join(words(name, "Service", limit)) for limit in limits)]
