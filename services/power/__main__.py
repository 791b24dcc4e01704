# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline power`."""

import sys

from wattline.service import main

from .loop import PowerStage
from .opening import limits
from .settings import PowerSettings

# Ticks with the probe, so that a meter's reading lies close to the probe's sample.
sys.exit(
    main(
        "power",
        PowerSettings,
        PowerStage,
        topics=("activity",),
        limits=limits(),
    )
)
