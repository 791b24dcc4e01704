# SPDX-License-Identifier: Apache-2.0
"""python -m services.exporter."""

import sys

from wattline.service import main

from .loop import TOPICS, ExporterStage
from .settings import ExporterSettings

sys.exit(main("exporter", ExporterSettings, ExporterStage, topics=TOPICS))
