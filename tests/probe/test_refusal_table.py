# SPDX-License-Identifier: Apache-2.0
"""The table of refusals: facts in, sentences out."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from services.probe.ebpf.refusal import (
    CAUSES,
    GET,
    LINK,
    MAP,
    PERF_EVENT,
    PROGRAM,
    Facts,
    MemoryCgroup,
    Refusal,
    explanation,
)

BOTH = frozenset({"CAP_BPF", "CAP_PERFMON"})
ROOTS = BOTH | {"CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"}
USUAL = Facts(capabilities=BOTH, perf_event_paranoid=2, kernel=(6, 1))

# What begins each sentence, in the order of the table.
USER_NAMESPACE, NO_BPF, NO_PERFMON, PARANOID, LOCKDOWN, MEMLOCK, SECCOMP, NO_CALL, CGROUP, MEMORY, SIZE = (
    "in a user namespace capabilities don't count",
    "it lacks CAP_BPF:",
    "it lacks CAP_PERFMON:",
    "kernel.perf_event_paranoid is above 2",
    "the kernel is locked down (confidentiality)",
    "tables count as locked memory before Linux 5.11",
    "a seccomp filter may refuse the call",
    "this kernel is built without the call",
    "its memory cgroup has no room for the tables",
    "the machine has no memory left for the tables",
    "a table is larger than this kernel allows",
)
NO_TRACEPOINT, VERIFIER, UNKNOWN = (
    "this kernel has no such tracepoint",
    "its verifier may not accept the program",
    "none of the known causes fits",
)
SENTENCES = (
    USER_NAMESPACE, NO_BPF, NO_PERFMON, PARANOID, LOCKDOWN, MEMLOCK, SECCOMP, NO_CALL, CGROUP, MEMORY, SIZE,
    NO_TRACEPOINT, VERIFIER,
)  # fmt: skip

CASES = [
    (PERF_EVENT, errno.EACCES, {"perf_event_paranoid": 4}, [PARANOID]),
    (PERF_EVENT, errno.EACCES, {"perf_event_paranoid": 3}, [PARANOID]),
    (PERF_EVENT, errno.EACCES, {"perf_event_paranoid": 4, "capabilities": ROOTS}, [UNKNOWN]),
    (PERF_EVENT, errno.EACCES, {"perf_event_paranoid": None}, [UNKNOWN]),
    (PERF_EVENT, errno.EACCES, {"capabilities": frozenset()}, [NO_PERFMON]),
    (PERF_EVENT, errno.EACCES, {"perf_event_paranoid": 4, "has_seccomp_filter": True}, [PARANOID, SECCOMP]),
    (PERF_EVENT, errno.ENOSYS, {}, [NO_CALL]),
    (MAP, errno.EPERM, {"perf_event_paranoid": 4}, [UNKNOWN]),
    (MAP, errno.EPERM, {"capabilities": frozenset()}, [NO_BPF]),
    (MAP, errno.EPERM, {"capabilities": frozenset({"CAP_PERFMON"})}, [NO_BPF]),
    (MAP, errno.EPERM, {"capabilities": frozenset({"CAP_SYS_ADMIN"})}, [UNKNOWN]),
    (MAP, errno.EPERM, {"in_user_namespace": True, "capabilities": ROOTS}, [USER_NAMESPACE]),
    (MAP, errno.EPERM, {"has_seccomp_filter": True}, [SECCOMP]),
    (MAP, errno.ENOSYS, {"has_seccomp_filter": True}, [SECCOMP]),
    (MAP, errno.ENOSYS, {}, [NO_CALL]),
    (MAP, errno.EPERM, {"kernel": (5, 10), "memlock_bytes": 65536}, [MEMLOCK]),
    (MAP, errno.EPERM, {"kernel": (5, 10)}, [UNKNOWN]),
    (MAP, errno.EPERM, {"kernel": (5, 11), "memlock_bytes": 65536}, [UNKNOWN]),
    (MAP, errno.EPERM, {"kernel": (5, 10), "memlock_bytes": 1, "capabilities": ROOTS}, [UNKNOWN]),
    (MAP, errno.ENOMEM, {"memory_cgroup": MemoryCgroup("/x", 300 << 20, 140 << 20)}, [CGROUP]),
    (MAP, errno.ENOMEM, {}, [MEMORY]),
    (MAP, errno.E2BIG, {}, [SIZE]),
    (PROGRAM, errno.EPERM, {"capabilities": frozenset({"CAP_BPF"})}, [NO_PERFMON]),
    (PROGRAM, errno.EPERM, {"capabilities": frozenset()}, [NO_BPF, NO_PERFMON]),
    (PROGRAM, errno.EINVAL, {}, [VERIFIER]),
    (PROGRAM, errno.EPERM, {"lockdown": "confidentiality"}, [LOCKDOWN]),
    (PROGRAM, errno.EPERM, {"lockdown": "integrity"}, [UNKNOWN]),
    (LINK, errno.ENOENT, {}, [NO_TRACEPOINT]),
    (LINK, errno.EPERM, {"capabilities": frozenset({"CAP_BPF"})}, [NO_PERFMON]),
    (GET, errno.EPERM, {"capabilities": frozenset({"CAP_PERFMON"})}, [NO_BPF]),
    (GET, errno.EPERM, {"capabilities": frozenset({"CAP_BPF"})}, [UNKNOWN]),
]


@pytest.mark.parametrize(("call", "error", "facts", "expected"), CASES)
def test_each_cause_is_named_where_it_fits(call, error, facts, expected):
    """Exactly those that fit, in the table's order."""
    text = explanation(Refusal(call, "", error), replace(USUAL, **facts))
    assert [sentence for sentence in (*SENTENCES, UNKNOWN) if sentence in text] == expected
    assert f"({errno.errorcode[error]})" in text


def test_every_row_is_tried():
    """A row without a case above would be one nobody has seen."""
    assert [cause.text.startswith(begin) for cause, begin in zip(CAUSES, SENTENCES, strict=True)] == [
        True
    ] * len(CAUSES)
    assert {sentence for *_case, expected in CASES for sentence in expected} == {*SENTENCES, UNKNOWN}


def test_every_row_is_in_the_document():
    """docs/install.md has the same causes, by the words that the message begins with."""
    page = (Path(__file__).parents[2] / "docs/install.md").read_text(encoding="utf-8")
    assert [sentence for sentence in (*SENTENCES, UNKNOWN) if f"`{sentence}" not in page] == []


def test_the_facts_are_all_said():
    """So that a cause that isn't in the table can be found."""
    facts = Facts(
        capabilities=BOTH,
        in_user_namespace=True,
        perf_event_paranoid=4,
        lockdown="integrity",
        memlock_bytes=65536,
        has_seccomp_filter=True,
        memory_cgroup=MemoryCgroup("/x", 300 << 20, 140 << 20),
    )
    text = explanation(Refusal(PERF_EVENT, "the counter cycles", errno.EACCES), facts)
    assert text.startswith("the kernel refused perf_event_open(2) of the counter cycles: ")
    assert text.endswith(
        "Facts: capabilities CAP_BPF CAP_PERFMON, in a user namespace, perf_event_paranoid 4, "
        "lockdown integrity, memlock 64 KiB, seccomp filter yes, memory cgroup /x, 140 of 300 MiB used"
    )
    assert "(1) in a user namespace" in text
    assert explanation(Refusal(MAP, "", errno.EPERM), Facts()).endswith(
        "capabilities none, perf_event_paranoid unknown, lockdown none, memlock unlimited, "
        "seccomp filter no, memory cgroup without a limit"
    )
