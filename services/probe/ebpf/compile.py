# SPDX-License-Identifier: Apache-2.0
"""The eBPF program compiled and loaded by BCC, with the hooks that this kernel has."""

import contextlib
import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wattline.errors import Fatal

from . import bpf_syscall as bpf
from . import layout
from .btf import Btf
from .find_bcc import make_importable
from .hooks import Hooks, classic_hooks, raw_hooks
from .kernel_facts import read_facts
from .mounts import TRACEFS, have_mounted
from .refusal import MAP, PROGRAM, Refusal, explanation

_SYSFS = Path("/sys")
_VMLINUX_BTF = Path("kernel/btf/vmlinux")
# What BCC prints of a map that can't be made: its exception doesn't say why.
_NO_MAP = re.compile(r"could not open bpf map: (\w+), error: (.+)")
_ERRORS = {os.strerror(code): code for code in errno.errorcode}


class Compiled:
    """One program in the kernel, attached to nothing."""

    def __init__(self, wanted: layout.Program) -> None:
        """Raises Fatal with what failed: BCC, the compiler, or the kernel's refusal with its causes."""
        # BCC looks for a kernel source tree; a tiny one of our own satisfies it, for the program takes all
        # its fields from helpers, from the kernel's BTF or from tracepoint formats.
        os.environ["BCC_KERNEL_SOURCE"] = str(layout.KERNEL_HEADERS)
        try:
            make_importable()
            from bcc import BPF  # noqa: PLC0415 the heavy import is this process's reason to exist
        except (ImportError, OSError) as error:  # the second: its shared library is missing
            raise Fatal(
                f"BCC is not importable ({error}); install the distribution's package, python3-bpfcc on "
                "Debian and Ubuntu (see docs/install.md)",
                Fatal.SETTINGS,
            ) from None
        self._bpf = BPF
        self._wanted = wanted
        self.hooks = kernel_hooks()
        self.program = self._compile()
        self._load_functions()
        if self.hooks.reads_structures and bpf.call(self.function(layout.CHECK), 0) != layout.CHECKED:
            self._fall_back()

    def table(self, name: str) -> int:
        """Descriptor of a table."""
        fd: int = self.program[name].map_fd
        return fd

    def function(self, name: str) -> int:
        """Descriptor of a loaded function."""
        fd: int = self.program.funcs[name.encode()].fd
        return fd

    def _fall_back(self) -> None:
        """Use classic hooks: what the kernel's BTF says of its structures is not what they are."""
        print("BTF does not fit this kernel; using tracepoints of the classic kind", file=sys.stderr)  # noqa: T201
        self.program.cleanup()
        self.hooks = _without_structures()
        self.program = self._compile()
        self._load_functions()

    def _compile(self) -> Any:
        defines = [*self._wanted.defines, *self.hooks.defines]
        if "on_page_read" not in self.hooks.raw and (_SYSFS / _VMLINUX_BTF).exists():
            with contextlib.suppress(
                Exception
            ):  # BCC raises plain Exception; then pages read are not counted
                return self._bpf(text=layout.source_text(), cflags=[*defines, "-DWITH_PAGE_FENTRY=1"])
        with _captured_errors() as errors:
            try:
                return self._bpf(text=layout.source_text(), cflags=[*defines, "-DWITH_PAGE_FENTRY=0"])
            except Exception as error:  # noqa: BLE001 BCC raises plain Exception
                raise _compile_failure(errors(), error) from None

    def _load_functions(self) -> None:
        checks = (layout.CHECK,) if self.hooks.reads_structures else ()
        for name in (*self.hooks.raw, *layout.CALLED, *checks):
            self._load(name, self._bpf.RAW_TRACEPOINT)
        for name in self.hooks.classic:
            self._load(name, self._bpf.TRACEPOINT)

    def _load(self, name: str, kind: int) -> None:
        ctypes.set_errno(0)
        try:
            self.program.load_func(name, kind)
        except Exception as error:  # noqa: BLE001 BCC raises plain Exception
            if code := ctypes.get_errno():
                raise refused(PROGRAM, name, code) from None
            raise Fatal(f"the kernel refused the eBPF program: {error}") from None


def kernel_hooks() -> Hooks:
    """Raw hooks where the kernel's BTF tells the places of fields, else classic ones.

    Raises Unavailable if the second need a file system that is not there.
    """
    try:
        return raw_hooks(Btf((_SYSFS / _VMLINUX_BTF).read_bytes()))
    except (OSError, ValueError):  # built without it (CONFIG_DEBUG_INFO_BTF), or it lacks a field
        return _without_structures()


def _without_structures() -> Hooks:
    have_mounted("tracefs", TRACEFS)
    return classic_hooks({path.parent.name for path in (TRACEFS / "events").glob("*/*/id")})


def refused(call: str, what: str, code: int) -> Fatal:
    """The error to raise for a refused call: its text says the cause and the cure."""
    exit_code = Fatal.PERMISSION if code in (errno.EPERM, errno.EACCES) else Fatal.FAILED
    return Fatal(explanation(Refusal(call, what, code), read_facts()), exit_code)


def _compile_failure(errors: str, error: Exception) -> Fatal:
    for table, text in _NO_MAP.findall(errors):
        if (code := _ERRORS.get(text.strip())) is not None:
            return refused(MAP, f"table {table}", code)
    return Fatal(f"the eBPF program could not be compiled: {error}")


@contextlib.contextmanager
def _captured_errors() -> Iterator[Any]:
    """What is written to standard error meanwhile, by libraries as well; it is written there afterwards."""
    sys.stderr.flush()
    kept, captured = os.dup(2), os.memfd_create("errors")
    os.dup2(captured, 2)

    def text() -> str:
        return os.pread(captured, os.fstat(captured).st_size, 0).decode("utf-8", "replace")

    try:
        yield text
    finally:
        os.dup2(kept, 2)
        with open(kept, "wb", closefd=True) as stream:  # noqa: PTH123 a descriptor
            stream.write(os.pread(captured, os.fstat(captured).st_size, 0))
        os.close(captured)
