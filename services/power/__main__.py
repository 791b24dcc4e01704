# SPDX-License-Identifier: Apache-2.0
"""python -m services.power."""

import sys

from wattline.service import main

from .loop import PowerStage
from .settings import PowerSettings

# Ticks a little after the probe, so that a meter's reading lies close behind the probe's sample.
sys.exit(main("power", PowerSettings, PowerStage, topics=("activity",), phase_ratio=0.05))
