# SPDX-License-Identifier: Apache-2.0
"""Power of the whole machine as its BMC measures it, asked in band by IPMI (DCMI's Get Power Reading).

docs/ipmi.md says which of the BMC's figures is used, and how it becomes energy.
"""

import time
from collections.abc import Callable
from pathlib import Path

from .channel import Channel, Found, Kind, Sample
from .ipmi_dcmi_device import RECEIVE_MSG_TRUNC, SEND_COMMAND, Bmc, IpmiDevice
from .ipmi_dcmi_message import COMMAND, NETWORK_FUNCTION, REQUEST, NoMeterError, PowerReading, parse
from .metered import Metered
from .needs import Needs
from .settings import PowerSettings
from .source import MEASURED, Former, Source, Zone

SOURCE = "ipmi-dcmi"
NEEDS = Needs(capabilities=("CAP_DAC_READ_SEARCH",), ioctls=(SEND_COMMAND, RECEIVE_MSG_TRUNC))

# Where udev, devfs and older kernels put it.
_DEVICES = ("ipmi0", "ipmi/0", "ipmidev/0")
_TIMEOUT_NS = 4_000_000_000  # some BMCs ask another controller first, which takes up to a second
_LOOK_NS = 60_000_000_000  # how often to ask again whether a BMC knows the command
# A straight line may be drawn across so many periods: one lost answer or two don't matter.
_BRIDGED_PERIODS = 4
_STALE_NS = 60_000_000_000  # a BMC that samples has a new reading by then
_NS_PER_S = 1_000_000_000
_UW_PER_W = 1_000_000

OpenBmc = Callable[[Path], Bmc]


def _open_device(path: Path) -> Bmc:
    return IpmiDevice(path, _TIMEOUT_NS)


def open_source(
    settings: PowerSettings, former: Former, now_ns: int, *, open_bmc: OpenBmc = _open_device
) -> Source:
    """The machine's BMC, where the kernel has a device for it."""
    return Metered(SOURCE, IpmiDcmi(settings, open_bmc).find, former, now_ns, look_ns=_LOOK_NS)


def needs(settings: PowerSettings) -> Needs:
    """The right to open the device and to talk through it, if there is one."""
    return NEEDS if device(settings.path_dev) else Needs()


def period_ns(settings: PowerSettings) -> int:
    """How often the BMC is asked."""
    return round(settings.ipmi_period_s * _NS_PER_S)


def device(devices: Path) -> Path | None:
    """Return the IPMI device below a /dev, if there is one."""
    return next((devices / name for name in _DEVICES if (devices / name).exists()), None)


class IpmiDcmi:
    """Discovery: whether there is a BMC that can read power."""

    def __init__(self, settings: PowerSettings, open_bmc: OpenBmc) -> None:
        self._settings = settings
        self._open_bmc = open_bmc
        self._meter: PowerMeter | None = None
        self._channel: Channel | None = None

    def find(self) -> Found:
        """Return the platform's channel; a BMC that only fails now has one."""
        path = device(self._settings.path_dev)
        if path is None:
            return Found(
                why_none=f"{self._settings.path_dev}/ipmi0: no such device: no BMC, or its driver "
                "isn't loaded (`modprobe ipmi_si ipmi_devintf`)"
            )
        if self._channel is not None and self._meter is not None and not self._meter.is_closed:
            return Found(channels=[self._channel])
        meter = PowerMeter(self._open_bmc(path))
        try:
            meter.try_once()
        except NoMeterError as error:
            meter.close()
            return Found(why_none=f"{path}: {error}")
        every_ns = period_ns(self._settings)
        self._meter = meter
        self._channel = Channel(
            Zone("platform", "ipmi0", SOURCE, MEASURED),
            str(path),
            meter.read,
            Kind.GAUGE,
            bridge_ns=_BRIDGED_PERIODS * every_ns,
            period_ns=every_ns,
            close=meter.close,
        )
        return Found(channels=[self._channel])


class PowerMeter:
    """The BMC's current power, as samples. A figure that the BMC hasn't renewed is no new sample."""

    def __init__(self, bmc: Bmc) -> None:
        self._bmc = bmc
        self.is_closed = False
        self._unused: Sample | None = None  # read to find out whether the BMC can
        self._reading: PowerReading | None = None
        self._sample: Sample | None = None
        self._clock_stands = False  # the BMC's times don't change with its figures

    def try_once(self) -> None:
        """Ask for a first reading and keep it. Raises NoMeterError; any other fault is left to `read`."""
        try:
            self._unused = self.read()
        except NoMeterError:
            raise
        except (OSError, ValueError):
            self._unused = None

    def read(self) -> Sample:
        """Return the newest sample, in µW, at the middle of the time that asking took.

        Raises OSError, or ValueError if the answer is no reading.
        """
        if self._unused is not None:
            unused, self._unused = self._unused, None
            return unused
        before_ns = time.monotonic_ns()
        reading = parse(self._bmc.ask(NETWORK_FUNCTION, COMMAND, REQUEST))
        at_ns = (before_ns + time.monotonic_ns()) // 2
        last, self._reading = self._reading, reading
        if last is None or self._sample is None or self._is_new(last, reading):
            self._sample = Sample(at_ns, reading.current_w * _UW_PER_W)
        elif at_ns - self._sample.mono_ns > _STALE_NS:
            raise ValueError(
                f"the BMC has shown the same reading, of its time {reading.bmc_s}, for "
                f"{(at_ns - self._sample.mono_ns) / 1e9:.0f} s: it has stopped sampling, or its clock stands"
            )
        return self._sample

    def _is_new(self, last: PowerReading, reading: PowerReading) -> bool:
        if reading.bmc_s is None or reading.bmc_s != last.bmc_s:
            return True
        self._clock_stands = self._clock_stands or reading != last
        return self._clock_stands

    def close(self) -> None:
        """Give the device up."""
        self._bmc.close()
        self.is_closed = True
