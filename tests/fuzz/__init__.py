# SPDX-License-Identifier: Apache-2.0
"""Fuzzers: what comes from outside, damaged in every way, against each decoder and the whole pipeline."""
