# SPDX-License-Identifier: Apache-2.0
"""What a Kubernetes cluster says of this node's pods: from its API server, or from the node's kubelet."""
