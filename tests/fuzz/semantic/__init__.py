# SPDX-License-Identifier: Apache-2.0
"""Valid frames with odd values, from a stage in another's place, through the real services."""
