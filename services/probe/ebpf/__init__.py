# SPDX-License-Identifier: Apache-2.0
"""Activity from the eBPF program: bpf/ is what runs in the kernel, the rest is what loads and reads it."""
