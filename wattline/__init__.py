# SPDX-License-Identifier: Apache-2.0
"""What all Wattline services share, and the operator's commands."""

__version__ = "0.1.0"
