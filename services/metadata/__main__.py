# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline metadata`."""

import sys

from wattline.confine.arguments import NO_NETWORK
from wattline.confine.limits import Limits
from wattline.service import main

from .cluster.source import families
from .docker import socket_group
from .loop import MetadataStage
from .settings import MetadataSettings

sys.exit(
    main(
        "metadata",
        MetadataSettings,
        MetadataStage,
        topics=("activity",),
        limits=Limits(
            groups=lambda settings: socket_group(settings.docker_socket),
            families=lambda settings: (*NO_NETWORK, *families(settings)),
        ),
    )
)
