# SPDX-License-Identifier: Apache-2.0
"""The operator's commands: one file per command."""

# What a command's --help ends with.
COMMON_FLAGS = (
    "The services' common flags and variables are understood too: --run (WATTLINE_RUN) says where they meet "
    "(default: /dev/shm/wattline, or the one directory in which Wattline runs)."
)
