# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline exporter`."""

import sys

from wattline.confine.arguments import NETWORK
from wattline.confine.limits import Limits
from wattline.service import main

from .loop import TOPICS, ExporterStage
from .settings import ExporterSettings, capabilities

sys.exit(
    main(
        "exporter",
        ExporterSettings,
        ExporterStage,
        topics=TOPICS,
        limits=Limits(capabilities=capabilities, families=lambda _settings: NETWORK),
    )
)
