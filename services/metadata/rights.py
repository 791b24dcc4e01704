# SPDX-License-Identifier: Apache-2.0
"""The rights that metadata keeps."""

from wattline.confine.arguments import NO_NETWORK
from wattline.confine.limits import Limits

from .cluster.source import families
from .docker import socket_group
from .settings import MetadataSettings

# A network only where a cluster is asked for names: docs/security.md.
LIMITS = Limits[MetadataSettings](
    groups=lambda settings: socket_group(settings.docker_socket),
    families=lambda settings: (*NO_NETWORK, *families(settings)),
)
