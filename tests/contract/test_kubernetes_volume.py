"""The repository on a volume: pods serve a folder of it, and the publisher has what lies beside that folder too."""

import re

import pytest

from tests.contract.kubernetes import FOLDERS, HOME, ROOT, WORKLOADS, containers, of_kind, only, pod, rendered

FOLDER = "model_repository"


def mounts(spec):
    """Of the volume with the models, by container."""
    found = {}
    for one in containers(spec):
        for mount in one["volumeMounts"]:
            if mount["name"] == "models":
                found[one["name"]] = mount
    return found


@pytest.mark.parametrize("name", ["overlays/cpu", "overlays/gpu"])
def test_pods_serve_a_folder_of_the_volume(name):
    _, spec = pod(only("Deployment", name))
    served = {"name": "models", "mountPath": "/models", "subPath": FOLDER, "readOnly": True}
    assert mounts(spec) == dict.fromkeys(("intact", "triton", "watch"), served)


def test_what_comes_from_a_bucket_is_all_that_there_is():
    assert "overlays/production" in WORKLOADS
    _, spec = pod(only("Deployment", "overlays/production"))
    served = {"name": "models", "mountPath": "/models", "readOnly": True}
    assert mounts(spec) == {
        "sync": {"name": "models", "mountPath": "/models"},
        **dict.fromkeys(("intact", "triton", "watch"), served),
    }


def test_the_publisher_can_stage_and_lock_beside_the_repository():
    _, spec = pod(only("Job", "jobs/publisher"))
    assert mounts(spec) == {"publisher": {"name": "models", "mountPath": "/volume"}}


def test_the_docs_name_that_folder_in_every_command():
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    named = re.findall(r"--repository (\S+?)[`,]*\s", text)
    assert named.count(f"/volume/{FOLDER}") == 3
    assert set(named) == {f"/volume/{FOLDER}"}
    [copied] = re.findall(r" cp (\S+) .*?:(\S+)\n", text)
    assert copied == (FOLDER, "/volume")


@pytest.mark.parametrize("name", [name for name in FOLDERS if of_kind("Job", name)])
def test_the_docs_start_a_job_anew_where_the_last_one_is_still_there(name):
    """What was applied once is applied: the second time within `ttlSecondsAfterFinished` nothing would run.

    In the foreground the old pods go first, so that no command that follows finds one of them.
    """
    assert all(one["spec"]["ttlSecondsAfterFinished"] for one in of_kind("Job", name))
    folder = (HOME / name).relative_to(ROOT)
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    applied = [line.strip() for line in text.splitlines() if f"kubectl apply -k {folder}" in line]
    assert applied == [
        f"kubectl delete --cascade=foreground --ignore-not-found -k {folder} && kubectl apply -k {folder}"
    ]
    # Nothing goes with it that others need.
    assert {one["kind"] for one in rendered(name)} <= {"Job", "NetworkPolicy", "Service"}
