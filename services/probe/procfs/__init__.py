# SPDX-License-Identifier: Apache-2.0
"""Activity from /proc and the cgroup tree, for hosts where eBPF can not be had."""
