# SPDX-License-Identifier: Apache-2.0
"""The kernel's refusals in words: which call, which error, what may be the cause, and the cure. Pure.

One table, CAUSES: facts in, sentences out. docs/install.md has it for people.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

MAP, PROGRAM, LINK = "BPF_MAP_CREATE", "BPF_PROG_LOAD", "BPF_RAW_TRACEPOINT_OPEN"
PIN, GET = "BPF_OBJ_PIN", "BPF_OBJ_GET"
PERF_EVENT = "perf_event_open(2)"
_MIB = 1 << 20
_OF_PERFMON = (PROGRAM, LINK, PERF_EVENT)
_DENIED = (errno.EPERM, errno.EACCES)
# Above this the kernels of Debian (3) and Ubuntu (4) ask for CAP_SYS_ADMIN, whoever has CAP_PERFMON. The
# kernel's own highest is 2; Documentation/admin-guide/sysctl/kernel.rst.
_PARANOID_MAX = 2
_MEMLOCK_NEEDED_BYTES = 64 * _MIB  # the tables at their default sizes
_OWN_MEMORY_ACCOUNT = (5, 11)  # before it, tables count as locked memory
_SYS_ADMIN, _BPF, _PERFMON = "CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON"


@dataclass(frozen=True)
class MemoryCgroup:
    """A memory cgroup with a limit: the path in its hierarchy, and bytes."""

    path: str
    limit_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class Facts:
    """The circumstances of a process that a refusal may come from."""

    capabilities: frozenset[str] = frozenset()  # of the four that matter here
    in_user_namespace: bool = False
    perf_event_paranoid: int | None = None  # None: not to be read
    lockdown: str = ""  # none, integrity or confidentiality; empty: this kernel has none
    memlock_bytes: int | None = None  # None: unlimited
    has_seccomp_filter: bool = False
    memory_cgroup: MemoryCgroup | None = None
    kernel: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Refusal:
    """A call that failed. `what`: of which object, in words."""

    call: str
    what: str
    error: int


@dataclass(frozen=True)
class Cause:
    """One row: when it may be the cause, and what to say then."""

    applies: Callable[[Refusal, Facts], bool]
    text: str


def _lacks(facts: Facts, name: str) -> bool:
    return name not in facts.capabilities and _SYS_ADMIN not in facts.capabilities


def _is_denied(refusal: Refusal) -> bool:
    return refusal.error in _DENIED


CAUSES = (
    Cause(
        lambda refusal, facts: _is_denied(refusal) and facts.in_user_namespace,
        "in a user namespace capabilities don't count for eBPF: start it outside (no rootless engine, no "
        "userns-remap)",
    ),
    Cause(
        lambda refusal, facts: _is_denied(refusal) and _lacks(facts, _BPF) and refusal.call != PERF_EVENT,
        "it lacks CAP_BPF: start it as root, or give its container CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN "
        "where these names aren't known)",
    ),
    Cause(
        lambda refusal, facts: (
            _is_denied(refusal) and _lacks(facts, _PERFMON) and refusal.call in _OF_PERFMON
        ),
        "it lacks CAP_PERFMON: start it as root, or give its container CAP_BPF and CAP_PERFMON "
        "(CAP_SYS_ADMIN where these names aren't known)",
    ),
    Cause(
        lambda refusal, facts: (
            _is_denied(refusal)
            and refusal.call == PERF_EVENT
            and (facts.perf_event_paranoid or 0) > _PARANOID_MAX
            and _SYS_ADMIN not in facts.capabilities
        ),
        "kernel.perf_event_paranoid is above 2, where kernels of Debian (3) and Ubuntu (4) ask for "
        "CAP_SYS_ADMIN and CAP_PERFMON is not enough: sysctl kernel.perf_event_paranoid=2, or give it "
        "CAP_SYS_ADMIN",
    ),
    Cause(
        lambda refusal, facts: _is_denied(refusal) and facts.lockdown == "confidentiality",
        "the kernel is locked down (confidentiality) and lets no program read its memory: boot with "
        "lockdown=integrity",
    ),
    Cause(
        lambda refusal, facts: (
            refusal.error in (errno.EPERM, errno.ENOMEM)
            and refusal.call == MAP
            and facts.kernel < _OWN_MEMORY_ACCOUNT
            and facts.memlock_bytes is not None
            and facts.memlock_bytes < _MEMLOCK_NEEDED_BYTES
            and "CAP_SYS_RESOURCE" not in facts.capabilities
        ),
        "tables count as locked memory before Linux 5.11, and that is limited: ulimit -l unlimited, "
        "LimitMEMLOCK=infinity, or give it CAP_SYS_RESOURCE",
    ),
    Cause(
        lambda refusal, facts: refusal.error in (*_DENIED, errno.ENOSYS) and facts.has_seccomp_filter,
        "a seccomp filter may refuse the call: give its container the capabilities by name (the engine's own "
        "profile then allows it), or one that allows bpf and perf_event_open (--security-opt seccomp=…)",
    ),
    Cause(
        lambda refusal, facts: refusal.error == errno.ENOSYS and not facts.has_seccomp_filter,
        "this kernel is built without the call: one with CONFIG_BPF_SYSCALL and CONFIG_PERF_EVENTS is needed",
    ),
    Cause(
        lambda refusal, facts: refusal.error == errno.ENOMEM and facts.memory_cgroup is not None,
        "its memory cgroup has no room for the tables: raise the limit (memory.max, MemoryMax=, --memory), "
        "or lower --probe.process-rows and --probe.cgroup-rows",
    ),
    Cause(
        lambda refusal, facts: refusal.error == errno.ENOMEM and facts.memory_cgroup is None,
        "the machine has no memory left for the tables: lower --probe.process-rows and --probe.cgroup-rows",
    ),
    Cause(
        lambda refusal, _facts: refusal.error == errno.E2BIG and refusal.call == MAP,
        "a table is larger than this kernel allows: lower --probe.process-rows and --probe.cgroup-rows",
    ),
    Cause(
        lambda refusal, _facts: refusal.error in (errno.EINVAL, errno.ENOENT) and refusal.call == LINK,
        "this kernel has no such tracepoint: Linux 5.15 or newer is needed, with CONFIG_TRACEPOINTS",
    ),
    Cause(
        lambda refusal, _facts: (
            refusal.error in (errno.EINVAL, errno.E2BIG, errno.EACCES) and refusal.call == PROGRAM
        ),
        "its verifier may not accept the program (its reasons stand in the log above): Linux 5.15 or newer "
        "is needed",
    ),
)
_NO_CAUSE = (
    "none of the known causes fits: a security module may refuse it (SELinux's class bpf, an AppArmor "
    "profile; look at the audit log)"
)


def explanation(refusal: Refusal, facts: Facts) -> str:
    """Say what was refused, each cause that fits with its cure, and the facts."""
    causes = [cause.text for cause in CAUSES if cause.applies(refusal, facts)] or [_NO_CAUSE]
    numbered = causes if len(causes) == 1 else [f"({place}) {text}" for place, text in enumerate(causes, 1)]
    what = f" of {refusal.what}" if refusal.what else ""
    call = refusal.call if refusal.call == PERF_EVENT else f"bpf(2) {refusal.call}"
    name = errno.errorcode.get(refusal.error, str(refusal.error))
    return (
        f"the kernel refused {call}{what}: {os.strerror(refusal.error)} ({name}); "
        f"{'; '.join(numbered)}. Facts: {described(facts)}"
    )


def described(facts: Facts) -> str:
    """Every fact, so that a cause that isn't in the table can be found."""
    held = sorted(facts.capabilities)
    paranoid = "unknown" if facts.perf_event_paranoid is None else str(facts.perf_event_paranoid)
    memlock = "unlimited" if facts.memlock_bytes is None else f"{facts.memlock_bytes // 1024} KiB"
    cgroup = facts.memory_cgroup
    memory = "without a limit"
    if cgroup is not None:
        memory = f"{cgroup.path}, {cgroup.used_bytes // _MIB} of {cgroup.limit_bytes // _MIB} MiB used"
    return ", ".join(
        (
            f"capabilities {' '.join(held) if held else 'none'}",
            *(["in a user namespace"] if facts.in_user_namespace else []),
            f"perf_event_paranoid {paranoid}",
            f"lockdown {facts.lockdown or 'none'}",
            f"memlock {memlock}",
            f"seccomp filter {'yes' if facts.has_seccomp_filter else 'no'}",
            f"memory cgroup {memory}",
        )
    )
