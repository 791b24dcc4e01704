# SPDX-License-Identifier: Apache-2.0
"""The parts of the Redfish source (services/power/redfish.py)."""

SOURCE = "redfish"
