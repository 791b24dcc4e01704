# SPDX-License-Identifier: Apache-2.0
"""What the running kernel says of its own structures and tracepoints (BTF). Pure.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h, Linux 6.12.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, header bytes, then offset and length, twice
_TYPE = struct.Struct("<III")  # name, information, size or type
_MEMBER = struct.Struct("<III")  # name, type, offset in bits
_STRUCT, _UNION, _TYPEDEF = 4, 5, 8
# Bytes after a type's record, by kind: fixed, and for each of its elements.
_MORE = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12)}
_MORE |= {17: (4, 0), 19: (0, 12)}
_KINDS = 20
_BIT_FIELDS = 1 << 31  # of the information: offsets have a bit field's size in their upper 8 bits
_TRACEPOINT = b"btf_trace_"  # a typedef for each, of its function


class _Found(NamedTuple):
    at: int  # of a type's members
    members: int
    has_bit_fields: bool


class Btf:
    """One kernel's types, indexed once."""

    def __init__(self, raw: bytes) -> None:
        """Raises ValueError if this is no BTF, or has kinds of types that are not known yet."""
        try:
            self._index(raw)
        except struct.error as error:
            raise ValueError(f"the kernel's BTF is cut short: {error}") from None

    def _index(self, raw: bytes) -> None:
        magic, _version, _flags, size, types_at, types_bytes, names_at, names_bytes = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError(f"expected BTF, which begins with {_MAGIC:#x}, got {magic:#x}")
        self._raw = raw
        self._names = raw[size + names_at : size + names_at + names_bytes]
        self._by_id: dict[int, _Found] = {}  # structures and unions
        self._by_name: dict[bytes, _Found] = {}
        self.tracepoints: set[str] = set()
        at, end, number = size + types_at, size + types_at + types_bytes, 0
        while at < end:
            name, info, _size = _TYPE.unpack_from(raw, at)
            number, at = number + 1, at + _TYPE.size
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            if not 0 < kind < _KINDS:
                raise ValueError(f"the kernel's BTF has a type of kind {kind}, known are 1 to {_KINDS - 1}")
            if kind in (_STRUCT, _UNION):
                found = self._by_id[number] = _Found(at, count, bool(info & _BIT_FIELDS))
                if kind == _STRUCT and name:
                    self._by_name.setdefault(self._name(name), found)
            elif kind == _TYPEDEF and self._names.startswith(_TRACEPOINT, name):
                self.tracepoints.add(self._name(name)[len(_TRACEPOINT) :].decode("ascii", "replace"))
            fixed, each = _MORE.get(kind, (0, 0))
            at += fixed + each * count

    def offset(self, structure: str, member: str) -> int:
        """Bytes from the beginning of a structure to one of its members. Raises ValueError if it has none.

        Members of unnamed structures and unions within it count as its own.
        """
        found = self._by_name.get(structure.encode())
        for name, bits in self._members(found) if found is not None else ():
            if name == member.encode() and bits % 8 == 0:
                return bits // 8
        raise ValueError(f"this kernel has no {structure}.{member}")

    def _members(self, found: _Found, base_bits: int = 0) -> Iterator[tuple[bytes, int]]:
        for place in range(found.members):
            name, kind, bits = _MEMBER.unpack_from(self._raw, found.at + place * _MEMBER.size)
            bits = base_bits + (bits & 0xFFFFFF if found.has_bit_fields else bits)
            if name:
                yield self._name(name), bits
            elif kind in self._by_id:
                yield from self._members(self._by_id[kind], bits)

    def _name(self, at: int) -> bytes:
        return self._names[at : self._names.index(b"\0", at)]
