# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md says what the code does: every field with its type, every reason, limit, mode and number."""

import re
import struct
import zlib
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from wattline.pipeline import PRODUCER_OF_TOPIC, SERVICES
from wattline.wire import bus, codec, decoding, names, order, packed, parts, plausible, rundir, shared
from wattline.wire.codec import decode, encode
from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    FRAME_TYPES,
    SCHEMA,
    Frame,
    Natural,
    SourceState,
    Table,
    Use,
)

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs/wire.md").read_text(encoding="utf-8")
_TYPES = {
    str: "text",
    bool: "bool",
    Natural: "natural",
    Annotated[int, msgspec.Meta(ge=1)]: "natural",
    U8: "u8 column",
    U32: "u32 column",
    U64: "u64 column",
    list[str]: "texts",
    list[SourceState]: "sources",
    dict[str, Natural]: "counts",
}
# The same types mean another thing inside a table.
_COLUMN_LISTS = {True: "u64 column per counter", False: "u64 column per zone"}
_KINDS = {*_TYPES.values(), *_COLUMN_LISTS.values(), "text column", "table"}


def section(heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    return re.split(r"^#+ ", _TEXT.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row in a text, the headings left out."""
    cells = [re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [row for row in cells if row[0].startswith("`")]


def described(text: str) -> dict[str, str]:
    """Type by field name, as a table of the page has them."""
    return {row[0].strip("`"): row[1] for row in rows(text)}


def declared(kind: type, prefix: str = "") -> dict[str, str]:
    """The same, as the code has them; columns as `table.column`."""
    found = {}
    for entry in msgspec.structs.fields(kind):
        if isinstance(entry.type, type) and issubclass(entry.type, Table):
            found[prefix + entry.name] = "table"
            found.update(declared(entry.type, f"{prefix}{entry.name}."))
        elif issubclass(kind, Table) and entry.name in kind.column_lists:
            found[prefix + entry.name] = _COLUMN_LISTS[issubclass(kind, Use)]
        elif issubclass(kind, Table) and entry.type == list[str]:
            found[prefix + entry.name] = "text column"
        else:
            found[prefix + entry.name] = _TYPES[entry.type]
    return found


_HEADER = declared(Frame)


def test_the_header_is_described():
    """Every field of the header with its type, and none besides."""
    assert described(section("## 6. Header")) == {"topic": "text", **_HEADER}


@pytest.mark.parametrize("topic", FRAME_TYPES)
def test_every_field_is_described(topic):
    """Every field and column of a topic's frame with its type, and none that doesn't exist."""
    own = {name: kind for name, kind in declared(FRAME_TYPES[topic]).items() if name not in _HEADER}
    assert described(section(f"### `{topic}`")) == own


def test_every_source_field_is_described():
    """The maps in `sources` likewise."""
    assert described(section("## 8. Topics")) == declared(SourceState)


@pytest.mark.parametrize("topic", FRAME_TYPES)
def test_optional_fields_are_called_so(topic):
    """What has a default in the code, or may be absent in a table, is optional on the page, nothing else."""
    fields = msgspec.structs.fields(FRAME_TYPES[topic])
    optional = {entry.name for entry in fields if not entry.required and entry.name not in _HEADER}
    for entry in fields:
        if isinstance(entry.type, type) and issubclass(entry.type, Table):
            optional |= {f"{entry.name}.{column}" for column in entry.type.optional}
    described_as = {row[0].strip("`") for row in rows(section(f"### `{topic}`")) if "optional" in row[2]}
    assert described_as == optional


def test_every_meaning_is_filled_in():
    """No field of any table is left without a word about it, unless it is the list of sources."""
    for row in rows(_TEXT):
        if len(row) == 3 and row[1] in _KINDS:
            assert row[2], row[0]


def test_every_reason_is_described():
    """The reason words on the page are those that the code counts by."""
    raised = set()
    for module in (codec, decoding, packed, parts, plausible, bus):
        raised |= set(
            re.findall(r'FrameError\(\s*"(\w+)"', Path(module.__file__).read_text(encoding="utf-8"))
        )
    assert {row[0].strip("`") for row in rows(section("## 7. Frames that can't be accepted"))} == raised


@pytest.mark.parametrize(
    "said",
    [
        f"ZMQ_SNDHWM {bus.HIGH_WATER_MARK}",
        f"ZMQ_RCVHWM {bus.HIGH_WATER_MARK}",
        f"ZMQ_MAXMSGSIZE {codec.FRAME_BYTES_MAX}",
        f"0{bus._SOCKET_MODE:o} (connecting",
        f"| {rundir.DIRECTORY_MODE:o} |",
        f"longer than {rundir._SOCKET_PATH_BYTES_MAX} bytes",
        f"at most {codec.FRAME_BYTES_MAX} bytes; a str 65536 bytes; a bin {parts.ROWS_MAX * 8} bytes",
        f"an array {parts.ROWS_MAX}",
        f"a map {parts.KEYS_MAX} keys",
        f"at most {parts.LISTS_MAX} columns",
        f"deeper than {parts.DEPTH_MAX} levels",
        f"has at most {parts._ELEMENTS_MIN} + its\nbytes ÷ {parts._BYTES_PER_ELEMENT} elements",
        f"more than {plausible.AHEAD_NS_MAX // 10**9} s above the reader's clock",
        f"is {plausible.REPLAY_AHEAD_NS_MAX // 10**9} s above it",
        f"A gap of {order._MISSING_MAX} or more",
        f"beyond\n{names.NAME_CHARACTERS_MAX} characters",
        f"at most {shared.PAYLOAD_BYTES_MAX} |",
        f"at least {shared._CAPACITY_MIN}",
        f"some {shared._ATTEMPTS} times",
        f"the ASCII bytes `{shared.MAGIC.decode()}`",
        f"`schema` is {SCHEMA}.",
    ],
)
def test_every_number_is_the_codes(said):
    """Marks, modes, limits and magic on the page are those in the code."""
    assert said in _TEXT


def test_every_service_and_topic_has_its_place():
    """Which directory has which topic."""
    said = " ".join(section("## 1. Directories").split())
    for topic, service in PRODUCER_OF_TOPIC.items():
        assert f"`{topic}` in `{service}`" in said
    assert f"SERVICE/ {', '.join(SERVICES)}" in said


def hexadecimal(text: str) -> bytes:
    """The bytes of an indented listing: two digits each, up to the remarks."""
    lines = (re.match(r"    ((?:[0-9a-f]{2} {0,2})+)(?:\s|$)", line) for line in text.splitlines())
    return bytes.fromhex("".join(line[1] for line in lines if line))


def test_the_example_is_a_frame():
    """The listing on the page is a frame as this code writes it, of as many bytes as it says."""
    text = section("## 9. A whole frame")
    data = hexadecimal(text)
    frame = decode(data, "power")
    assert encode(frame) == data
    assert f"{len(data)} bytes" in text
    assert (frame.zones.zone, frame.zones.energy_uj[0], frame.mono_ns) == (["package"], 70_000, 5000)


def test_the_examples_remarks_say_what_its_bytes_are():
    """Each line's remark is the value that its bytes encode."""
    frame = msgspec.to_builtins(decode(hexadecimal(section("## 9. A whole frame"))), enc_hook=list)
    remarks = re.findall(r'  +"(\w+)": (.+)$', section("## 9. A whole frame"), re.MULTILINE)
    said = dict(reversed(remarks))  # the first of each name: the header stands before the tables
    for name in ("topic", "node", "producer"):
        assert said.pop(name) == f'"{frame[name]}"'
    for name in (
        *("schema", "epoch", "run", "seq", "unix_ns", "interval_ns", "useful_mono_ns", "failed_turns"),
    ):
        assert said.pop(name) == str(frame[name])
    assert said["energy_uj"] == '["u64", 70000]'
    tables = {*frame["zones"], *frame["gpu_use"], *frame["absent"]} - {"epoch"}
    assert set(said) == {"boot_id", "mono_ns", "zones", "gpu_use", "sources", "absent", *tables}


def test_the_example_of_a_slot_is_one(run_directory):
    """The bytes of a slot on the page are those that the writer stores and a reader accepts."""
    data = hexadecimal(section("## 3. The `last` file"))
    writer = shared.SlotWriter(run_directory / "last")
    writer.write(b"one")
    writer.close()
    assert (run_directory / "last").read_bytes()[16 : 16 + len(data)] == data
    assert f"0x{zlib.crc32(struct.pack('<QQ', 1, 3) + b'one'):08x}" in _TEXT


def test_every_type_is_explained():
    """Every type that the tables name is among the encodings."""
    kinds = section("## 5. Encoding")
    for name in _KINDS:
        assert name in kinds
