# SPDX-License-Identifier: Apache-2.0
import pytest

from services.metadata.cluster.workload import NONE, Owner, workload

from .pod_objects import CREATED, CREATED_MINUTES

RS = ("apps/v1", True)
JOB = ("batch/v1", True)
HASH = "6d4cf56db6"
ALIKE_SET, DASHLESS, ONLY_HASH = f"web-{HASH}", f"web{HASH}", f"-{HASH}"
WAITED, AHEAD = f"clean-{CREATED_MINUTES - 9000}", f"clean-{CREATED_MINUTES + 4}"
# owner, the pod's label pod-template-hash, what it belongs to
CASES = {
    "Deployment": (Owner("ReplicaSet", f"web-{HASH}", *RS), HASH, ("Deployment", "web")),
    "Deployment of old": (
        Owner("ReplicaSet", f"web-{HASH}", "extensions/v1beta1", True),  # noqa: FBT003
        HASH,
        ("Deployment", "web"),
    ),
    "Deployment with dashes": (Owner("ReplicaSet", f"a-b-{HASH}", *RS), HASH, ("Deployment", "a-b")),
    "bare ReplicaSet": (Owner("ReplicaSet", "web", *RS), "", ("ReplicaSet", "web")),
    "ReplicaSet that looks alike": (
        Owner("ReplicaSet", f"web-{HASH}", *RS),
        "",
        ("ReplicaSet", f"web-{HASH}"),
    ),
    "ReplicaSet with another hash": (
        Owner("ReplicaSet", f"web-{HASH}", *RS),
        "5c",
        ("ReplicaSet", f"web-{HASH}"),
    ),
    "ReplicaSet with only the hash": (Owner("ReplicaSet", ONLY_HASH, *RS), HASH, ("ReplicaSet", ONLY_HASH)),
    "ReplicaSet without the dash": (
        Owner("ReplicaSet", f"web{HASH}", *RS),
        HASH,
        ("ReplicaSet", f"web{HASH}"),
    ),
    "ReplicaSet of another API": (
        Owner("ReplicaSet", f"web-{HASH}", "sets.example/v1", True),  # noqa: FBT003
        HASH,
        ("ReplicaSet", f"web-{HASH}"),
    ),
    "StatefulSet": (Owner("StatefulSet", "db", *RS), "", ("StatefulSet", "db")),
    "DaemonSet": (Owner("DaemonSet", "agent", *RS), "", ("DaemonSet", "agent")),
    "Job": (Owner("Job", "import", *JOB), "", ("Job", "import")),
    "CronJob": (Owner("Job", f"clean-{CREATED_MINUTES}", *JOB), "", ("CronJob", "clean")),
    "CronJob of old": (Owner("Job", f"clean-{CREATED_MINUTES * 60}", *JOB), "", ("CronJob", "clean")),
    "CronJob whose Job waited": (
        Owner("Job", f"clean-{CREATED_MINUTES - 9000}", *JOB),
        "",
        ("CronJob", "clean"),
    ),
    "CronJob and a fast clock": (
        Owner("Job", f"clean-{CREATED_MINUTES + 4}", *JOB),
        "",
        ("CronJob", "clean"),
    ),
    "custom controller": (
        Owner("RayCluster", "train", "ray.io/v1", True),  # noqa: FBT003
        "",
        ("RayCluster", "train"),
    ),
    "none": (Owner("", ""), "", NONE),
    "an owner that isn't the controller": (Owner("ReplicaSet", f"web-{HASH}", "apps/v1"), HASH, NONE),
}
ALIKE = [
    "import-20260301",  # a date
    "import-2026030110",
    "import-1",
    f"import-{CREATED_MINUTES * 60 + 1}",  # date +%s: no schedule's time, which is a whole minute
    f"import-0{CREATED_MINUTES}",
    f"import-{CREATED_MINUTES}-x",
    f"import{CREATED_MINUTES}",
    f"-{CREATED_MINUTES}",
    f"import-{CREATED_MINUTES + 60}",  # later than its pod
    f"import-{CREATED_MINUTES - 367 * 24 * 60}",
    "import-٢٩٥٣٩٣٢٠",
]


@pytest.mark.parametrize("case", CASES)
def test_a_pod_belongs_to_a_workload(case):
    """Its controller's own controller only where no other reading is left, else its controller."""
    owner, pod_template_hash, expected = CASES[case]
    others = [Owner("Node", "n1", "v1")]
    assert workload([*others, owner], pod_template_hash, CREATED) == expected


@pytest.mark.parametrize("name", ALIKE)
def test_a_job_that_looks_alike_is_no_cronjobs(name):
    """Only a number that is a schedule's time, at that time, makes it one's."""
    assert workload([Owner("Job", name, *JOB)], "", CREATED) == ("Job", name)


@pytest.mark.parametrize("created", ["", "yesterday", "9999-99-99T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_without_a_time_no_number_is_a_schedules(created):
    """Nothing says then that it is one."""
    name = f"clean-{CREATED_MINUTES}"
    assert workload([Owner("Job", name, *JOB)], "", created) == ("Job", name)


def test_only_a_job_of_batch_is_a_cronjobs():
    """Other APIs have Jobs too."""
    name = f"clean-{CREATED_MINUTES}"
    owner = Owner("Job", name, "batch.volcano.sh/v1alpha1", is_controller=True)
    assert workload([owner], "", CREATED) == ("Job", name)
