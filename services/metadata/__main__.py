# SPDX-License-Identifier: Apache-2.0
"""Entry point: python -m services.metadata."""

import sys

from wattline.service import main

from .loop import MetadataStage
from .settings import MetadataSettings

sys.exit(main("metadata", MetadataSettings, MetadataStage, topics=("activity",)))
