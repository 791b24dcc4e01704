# SPDX-License-Identifier: Apache-2.0
"""The services that have each setting. Pure.

`wattline up` hands a service's flags on by this table, and a service does not warn of its neighbours'
variables. tests/docs holds it against the settings that the services declare.
"""

from collections.abc import Sequence

from .pipeline import SERVICES

OWNERS: dict[str, tuple[str, ...]] = {
    "container-patterns": ("metadata",),
    "docker-socket": ("metadata",),
    "hwmon.rules": ("power",),
    "idle-policy": ("calculator",),
    "idle-power": ("calculator",),
    "ipmi.period-s": ("power",),
    "kubernetes": ("metadata",),
    "kubernetes.kubeconfig": ("metadata",),
    "kubernetes.kubelet-address": ("metadata",),
    "kubernetes.kubelet-ca-file": ("metadata",),
    "kubernetes.kubelet-verify": ("metadata",),
    "kubernetes.labels": ("metadata",),
    "kubernetes.name-grace-s": ("metadata",),
    "kubernetes.node": ("metadata",),
    "kubernetes.period-s": ("metadata",),
    "metadata-grace-s": ("calculator",),
    "name": ("power",),
    "path.cgroup": ("metadata",),
    "path.dev": ("power",),
    "path.procfs": ("probe", "metadata"),
    "path.sysfs": ("probe", "power"),
    "power.sources": ("power",),
    "probe.backend": ("probe",),
    "probe.cgroup-rows": ("probe",),
    "probe.counters": ("probe",),
    "probe.ended-s": ("probe",),
    "probe.keep": ("probe",),
    "probe.pin-path": ("probe",),
    "probe.process-rows": ("probe",),
    "probe.undisturbed-cpus": ("probe",),
    "redfish.auth": ("power",),
    "redfish.ca-file": ("power",),
    "redfish.chassis": ("power",),
    "redfish.credentials-file": ("power",),
    "redfish.period-s": ("power",),
    "redfish.timeout-s": ("power",),
    "redfish.url": ("power",),
    "redfish.verify": ("power",),
    "replay": ("calculator",),
    "replay-speed": ("calculator",),
    "share-method": ("calculator",),
    "terminated-keep-s": ("calculator",),
    "web.listen-address": ("exporter",),
}
# Every service has these.
COMMON = (
    "clock",
    "config",
    "die-with-parent",
    "interval-s",
    "log-level",
    "node",
    "power.streams",
    "run",
    "user",
)
_COMMANDS = ("up.cache", "up.first-id")
# Variables without a flag or a key in a file: a password must not be in an argument list.
SECRETS = ("redfish.password", "redfish.user")

PREFIX = "WATTLINE_"


def variable(name: str) -> str:
    """The environment variable of a setting: WATTLINE_IDLE_POLICY of idle-policy."""
    return PREFIX + name.upper().replace(".", "_").replace("-", "_")


VARIABLES = frozenset(variable(name) for name in (*OWNERS, *COMMON, *_COMMANDS, *SECRETS))


def split_flags(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """(the arguments that are no flags of single services, each service's own flags)."""
    rest: list[str] = []
    own: dict[str, list[str]] = {service: [] for service in SERVICES}
    waiting = list(arguments)
    while waiting:
        flag = [waiting.pop(0)]
        name, has_value, _value = flag[0].removeprefix("--").partition("=")
        takers = [own[service] for service in OWNERS.get(name, ())] if flag[0].startswith("--") else []
        # A switch may stand without a value.
        if takers and not has_value and waiting and not waiting[0].startswith("--"):
            flag.append(waiting.pop(0))
        for taker in takers or [rest]:
            taker.extend(flag)
    return rest, own
