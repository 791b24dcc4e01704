# SPDX-License-Identifier: Apache-2.0
"""Calculator: joules per workload, with books that close."""
