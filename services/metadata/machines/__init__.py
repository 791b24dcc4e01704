# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: which processes run one, its id, and what it is called."""
