# SPDX-License-Identifier: Apache-2.0
"""python -m services.power."""

import sys

from wattline.service import main

from .loop import PowerStage
from .settings import PowerSettings

# Ticks with the probe, so that a meter's reading lies close to the probe's sample.
sys.exit(main("power", PowerSettings, PowerStage, topics=("activity",)))
