# SPDX-License-Identifier: Apache-2.0
"""A BMC may write anything: whatever it is, it ends in a reading or in words."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.power.redfish_bmc.look import Look
from services.power.redfish_bmc.resource import decode, own_path
from wattline.wire.names import are_safe

from .shapes import LAYOUTS, Readings
from .test_layouts import PERIOD_NS, decoded

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
VALUES = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=9), st.just({"@odata.id": "/redfish/v1/Chassis/Self"})),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.binary(max_size=200))
def test_bytes_are_a_resource_or_no_resource(data):
    """Decoding raises ValueError, and nothing else."""
    found = None
    with contextlib.suppress(ValueError):
        found = decode(data)
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1e9999999999999999999999}',
        '{"a": 1e-9999999999999999999999}',
        '{"a": ' + "9" * 5000 + "}",
        "{" * 9999,
    ],
)
def test_endless_numbers(text):
    """Numbers of any length and exponent end quickly and in words."""
    with pytest.raises(ValueError, match=r"^expected JSON"):
        decode(text.encode())


@given(st.data())
def test_any_value_anywhere(data):
    """One value of a layout is replaced by anything: what is found can be read, or says why not."""
    tree = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](
        Readings(212.5, 1.234, "2023-11-14T22:13:20Z")
    )
    place = tree
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
            break
        place = inner
    tree = {path: body for path, body in tree.items() if isinstance(body, dict)}
    sight = Look((), PERIOD_NS).go_on(decoded(json.loads(json.dumps(tree))).get)
    assert bool(sight.meters) == (not sight.why_none)
    assert are_safe([sight.why_none, *sight.skipped, *sight.meters])
    for meter in sight.meters.values():
        assert 0 <= meter.read(decoded(tree)).value < 2**63
        with pytest.raises(ValueError, match="expected"):
            meter.read({})


@given(st.text(max_size=40))
def test_paths_are_plain(text):
    """What is put into a request is a path below /redfish/, without anything that ends a line or a path."""
    for path in (text, f"/redfish/{text}"):
        own = own_path(path)
        assert own == "" or (
            own.startswith("/redfish") and own.isascii() and own.isprintable() and "//" not in own
        )
        assert not set(own) & set(" ?#\\@" if not own else " ?#\\")
