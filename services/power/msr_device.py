# SPDX-License-Identifier: Apache-2.0
"""Registers of a package, read through /dev/cpu/N/msr of any of its CPUs.

Source: arch/x86/kernel/msr.c, Linux 6.1: a read of 8 bytes at an offset reads the register of that number. To
open the file takes CAP_SYS_RAWIO besides read access. Lockdown forbids writing, not reading.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

_BYTES = 8


class PackageRegisters:
    """The registers that all CPUs of a package share."""

    def __init__(self, devices: Path, cpus: Sequence[int]) -> None:
        """`devices`: where cpu/N/msr is. `cpus`: those of the package, in the order in which to try them."""
        self._devices = devices
        self._cpus = list(cpus)
        self._descriptor: int | None = None
        self._cpu = -1

    @property
    def place(self) -> str:
        """Where they are read, for messages."""
        return str(self._path(self._cpus[0] if self._cpu < 0 else self._cpu))

    def follow(self, cpus: Sequence[int]) -> None:
        """Take note of the CPUs that the package has now."""
        self._cpus = list(cpus)
        if self._cpu not in self._cpus:
            self.close()

    def read(self, register: int) -> int:
        """Return a register's content, on whichever CPU of the package can be read.

        Raises OSError: EIO if there is no such register, else why the first CPU can't be read.
        """
        first_error: OSError | None = None
        for cpu in sorted(self._cpus, key=lambda cpu: cpu != self._cpu):
            try:
                return self._read_on(cpu, register)
            except OSError as error:
                if error.errno == errno.EIO:  # the processor has no such register
                    raise
                self.close()
                first_error = first_error or error
        raise first_error or OSError(errno.ENXIO, "no CPU of the package is online")

    def close(self) -> None:
        """Close the device."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self._cpu = None, -1

    def _read_on(self, cpu: int, register: int) -> int:
        path = self._path(cpu)
        try:
            if self._descriptor is None or cpu != self._cpu:
                self.close()
                self._descriptor, self._cpu = os.open(path, os.O_RDONLY | os.O_CLOEXEC), cpu
            data = os.pread(self._descriptor, _BYTES, register)
        except OSError as error:
            code = error.errno or errno.EIO
            raise OSError(code, f"{path}: register {register:#x}: {os.strerror(code)}{_cure(code)}") from None
        if len(data) != _BYTES:
            raise OSError(errno.EIO, f"{path}: register {register:#x}: got {len(data)} of 8 bytes")
        return int.from_bytes(data, "little")

    def _path(self, cpu: int) -> Path:
        return self._devices / "cpu" / str(cpu) / "msr"


def _cure(code: int) -> str:
    match code:
        case errno.ENOENT:
            return " (the module is missing: `modprobe msr`; in a container, show it the host's /dev/cpu)"
        case errno.EPERM:
            return (
                " (opening takes CAP_SYS_RAWIO; some distributions also deny it under lockdown, as with "
                "Secure Boot: use rapl-sysfs or rapl-perf there)"
            )
        case errno.EACCES:
            return " (the file is root's: power needs CAP_DAC_READ_SEARCH, and its container the device)"
        case errno.ENXIO:
            return " (the CPU is offline)"
        case errno.EIO:
            return " (the processor, or the virtual machine, has no such register)"
    return ""
