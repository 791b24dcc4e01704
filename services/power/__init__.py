# SPDX-License-Identifier: Apache-2.0
"""Power: the energy of every zone."""
