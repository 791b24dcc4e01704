# SPDX-License-Identifier: Apache-2.0
"""The virtual machine that a pod of KubeVirt's runs. Pure.

Source: labels and annotations of virt-launcher pods, as KubeVirt's virt-controller makes them.
"""

from .json_part import Part

_KIND, _LAUNCHER = "kubevirt.io", "virt-launcher"
# The whole name; a label holds no more than 63 characters, and of a longer name only a part.
_ANNOTATION = "kubevirt.io/domain"
_LABELS = ("vm.kubevirt.io/name", "kubevirt.io/domain")


def virtual_machine(labels: Part, annotations: Part) -> str:
    """Its name, in the pod's namespace; empty if the pod runs none."""
    if labels.text(_KIND) != _LAUNCHER:
        return ""
    found = [annotations.text(_ANNOTATION), *(labels.text(label) for label in _LABELS)]
    return next((name for name in found if name), "")
