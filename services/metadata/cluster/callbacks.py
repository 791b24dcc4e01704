# SPDX-License-Identifier: Apache-2.0
"""What a source of pods is given: how to make a pod, and where to count what goes wrong. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from .pod import Pod

# Of an object as the API has it. Raises ValueError for one that is none.
ReadPod = Callable[[Mapping[str, Any]], Pod]
# (event, cause), as Runtime.count.
Count = Callable[[str, object], None]
