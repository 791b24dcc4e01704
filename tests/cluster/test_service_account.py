# SPDX-License-Identifier: Apache-2.0
"""Wattline as a pod of the cluster: what a kubelet mounts and sets is all that it has to be told."""

from urllib.parse import urlsplit

import pytest

from .account import Account, write_service_account
from .conftest import WATTLINE
from .named import container_name, source_state
from .node import uid
from .objects import container, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Its service account where a container has it, in a mount namespace of its own.
_MOUNTED = """
mount -t tmpfs run /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"""


@pytest.fixture
def account(cluster, node, readable_directory, monkeypatch):
    """(account, directory that is mounted); the variables are set."""
    parts = urlsplit(cluster.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", parts.hostname)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(parts.port))
    monkeypatch.setenv("NODE_NAME", node.name)
    made = Account(cluster.admin, "wattline-pod")
    directory = readable_directory / "serviceaccount"
    write_service_account(directory, cluster.ca_file, made.token())
    yield made, directory
    made.remove()


def test_a_pod_needs_no_setting(cluster, node, account, kubepods, wattline):
    """The API server is asked by itself; a token that was replaced is used without a restart."""
    account, mounted = account
    command = ("unshare", "--mount", "sh", "-ec", _MOUNTED, "sh", str(mounted), *WATTLINE)
    with wattline(None, node.name, command) as watching:
        watching.until(lambda series: source_state(series) == 1)
        account.end_token()
        cluster.kill()  # it would remember for some seconds that the token was good
        cluster.start()
        watching.pipeline.wait_until(lambda: watching.pipeline.said("refuses the token"))
        write_service_account(mounted, cluster.ca_file, account.token())
        watching.until(lambda series: source_state(series) == 1, 45)
        pod = node.add_pod("new", container("work"))
        work = kubepods.run(uid(pod))
        node.tell(pod, [running("work", work.container_id)])
        watching.until(lambda series: container_name(series, work.container_id) == ("default", "new", "work"))
