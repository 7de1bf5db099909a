"""deploy/kubernetes/ held to Kubernetes' schemas and to the rest of the project.

No cluster is asked. docs/kubernetes.md says what that leaves open.
"""

import importlib
import json
import re
from copy import deepcopy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.contract.kubernetes import (
    FOLDER,
    FOLDERS,
    HOME,
    ROOT,
    TRITON_POD,
    WORKLOAD,
    WORKLOADS,
    checked,
    container,
    containers,
    environment,
    memory,
    of_kind,
    only,
    only_config,
    pod,
    pods,
    rendered,
    rules_of,
    servers,
)
from tests.contract.test_deploy import amount, instructions, serve_flags, tritons

# What is rendered.


@FOLDER
def test_every_resource_follows_its_schema(name):
    assert {
        f"{one['kind']} {one['metadata']['name']}: {checked(one)}" for one in rendered(name) if checked(one)
    } == set()


def test_the_pod_of_a_serving_runtime_follows_the_schema_of_a_pod():
    spec = only("ServingRuntime", "kserve")["spec"]
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made"}, "spec": {}}
    made["spec"] = {key: spec[key] for key in ("containers", "volumes")}
    assert checked(made) == []
    predictor = only("InferenceService", "kserve")["spec"]["predictor"]
    template = {
        "metadata": {"labels": TRITON_POD},
        "spec": {**made["spec"], "securityContext": predictor["securityContext"]},
    }
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "made"}}
    deployment["spec"] = {"selector": {"matchLabels": TRITON_POD}, "template": template}
    deployment["spec"]["strategy"] = predictor["deploymentStrategy"]
    assert checked(deployment) == []


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "overlays/cpu", ("spec", "template", "spec", "terminationGracePeriodSecond"), 75),
        ("Deployment", "overlays/cpu", ("spec", "replicas"), "two"),
        ("PodDisruptionBudget", "overlays/cpu", ("spec", "maxUnavailible"), 1),
        ("Job", "jobs/load", ("spec", "backoffLimits"), 1),
        ("ServiceMonitor", "overlays/production", ("spec", "endpoint"), []),
        ("ScaledObject", "overlays/production", ("spec", "minReplicas"), 2),
        ("ScaledObject", "overlays/production", ("spec", "maxReplicaCount"), "8"),
        ("ScaledObject", "overlays/production", ("spec", "fallback", "behavior"), "higher"),
        ("ServingRuntime", "kserve", ("spec", "container"), []),
        ("InferenceService", "kserve", ("spec", "predictor", "storageUri"), "s3://a"),
        ("InferenceService", "kserve", ("spec", "predictor", "model", "storageUri"), "a/b"),
    ],
)
def test_a_field_that_does_not_exist_or_fit_is_found(kind, name, path, value):
    broken = deepcopy(only(kind, name))
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert checked(broken) != []


@FOLDER
def test_all_is_in_one_namespace_and_says_what_it_is_part_of(name):
    for one in rendered(name):
        assert one["metadata"].get("namespace", "understudy") == "understudy"
        assert one["kind"] == "Namespace" or "namespace" in one["metadata"]
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "understudy"


def test_every_folder_with_a_kustomization_is_rendered_here():
    found = {str(path.parent.relative_to(HOME)) for path in HOME.rglob("kustomization.yaml")}
    parts = {name for name in found if name.startswith("components/")} | {"base", "probes"}
    assert found - parts == set(FOLDERS)
    named = YAML(typ="safe").load((HOME / "overlays" / "production" / "kustomization.yaml").read_text())["components"]
    assert {f"components/{Path(part).name}" for part in named} == {part for part in parts if "/" in part}


# What a pod may do.


@FOLDER
def test_a_pod_may_do_no_more_than_it_must(name):
    found = pods(name)
    assert found
    for _, spec in found:
        outer = spec.get("securityContext", {})
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for one in containers(spec):
            inner = one["securityContext"]
            assert inner["allowPrivilegeEscalation"] is False, one["name"]
            assert inner["readOnlyRootFilesystem"] is True, one["name"]
            assert inner["capabilities"] == {"drop": ["ALL"]}
            assert not inner.get("privileged")
            both = {**outer, **inner}
            assert both["runAsNonRoot"] is True
            assert both["runAsUser"] == 1000
            assert both["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= {"emptyDir", "configMap", "persistentVolumeClaim"}, volume


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "kserve"])
def test_no_pod_can_talk_to_the_api_server(name):
    for _, spec in pods(name):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["serviceAccountName"] == "understudy"


@WORKLOAD
def test_the_namespace_refuses_what_may_do_more(name):
    labels = only("Namespace", name)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@FOLDER
def test_whatever_a_container_may_take_is_limited(name):
    for _, spec in pods(name):
        for one in containers(spec):
            assert one["resources"]["limits"] == one["resources"]["requests"], one["name"]
            assert {"cpu", "memory"} <= one["resources"]["limits"].keys()
        for volume in spec.get("volumes", []):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), volume


@FOLDER
def test_secrets_are_referred_to_and_nowhere_held(name):
    assert of_kind("Secret", name) == []
    for _, spec in pods(name):
        for one in containers(spec):
            for key, value in environment(one).items():
                if re.search("KEY|SECRET|PASSWORD|TOKEN", key):
                    assert value.keys() == {"secretKeyRef"}, key
    held = json.dumps([one.get("data") for one in of_kind("ConfigMap", name)])
    assert not re.search(r"RCLONE\w+KEY\w*=|CONTROL_KEY=", held)


def test_only_triton_its_watch_and_the_job_that_loads_have_the_key():
    having = {
        one["name"]
        for name in FOLDERS
        for _, spec in pods(name)
        for one in containers(spec)
        if "UNDERSTUDY_CONTROL_KEY" in environment(one)
    }
    assert having == {"triton", "watch", "load", "kserve-container"}


# Images.


def images():
    return {one["image"] for name in FOLDERS for _, spec in pods(name) for one in containers(spec)}


def test_every_image_is_pinned():
    for image in images():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image
    assert not any("latest" in path.read_text() for path in HOME.rglob("*.yaml"))


def test_triton_is_the_image_of_the_compose_file():
    composed = {name.removeprefix("triton-"): service["image"] for name, service in tritons().items()}
    assert {image for image in images() if image.startswith("understudy-triton:")} == set(composed.values())
    for name, profile in (("cpu", "cpu"), ("production", "cpu"), ("gpu", "gpu")):
        _, spec = pod(only("Deployment", f"overlays/{name}"))
        assert container(spec, "triton")["image"] == container(spec, "intact")["image"] == composed[profile]


def test_the_tools_image_has_the_projects_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert {image for image in images() if image.startswith("understudy-tools:")} == {f"understudy-tools:{version}"}
    assert f"understudy-tools:{version}" in (ROOT / "docs" / "kubernetes.md").read_text()


# Triton's pod.


def waited(probe):
    """After how many seconds of failing something happens."""
    return probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("name", [*WORKLOADS, "kserve"])
def test_readiness_is_an_answer_and_no_model_can_end_the_server(name):
    [(_, server)] = servers(name)
    ready = server["readinessProbe"]
    assert ready["exec"]["command"] == ["python3", "/etc/understudy/ready.py"]
    for probe in (server["startupProbe"], server["livenessProbe"]):
        # Not /ready, and nothing of a model's.
        assert probe["httpGet"]["path"] == "/v2/health/live"
        assert probe["httpGet"]["port"] in {"http", 8000}
    health = (ROOT / "deploy" / "healthcheck.py").read_text()
    assert ready["timeoutSeconds"] > float(re.search(r"^_TIMEOUT_S = (.+)$", health, re.MULTILINE)[1])
    # A server that is only busy is taken out long before it is ended.
    assert waited(server["livenessProbe"]) >= 2 * waited(ready)
    [start_period] = {amount(service["healthcheck"]["start_period"]) for service in tritons().values()}
    assert waited(server["startupProbe"]) >= start_period


@pytest.mark.parametrize("name", [*WORKLOADS, "kserve"])
def test_what_probes_and_hooks_run_is_in_the_image_or_mounted(name):
    [(spec, server)] = servers(name)
    copied = {f"/opt/understudy/{Path(part).name}" for line in instructions("COPY") for part in line.split()[:-1]}
    probes = only_config(name, "understudy-probes")
    mounted = {f"/etc/understudy/{file}" for file in probes["data"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert mounts["probes"] == "/etc/understudy"
    assert [v["configMap"]["name"] for v in spec["volumes"] if v["name"] == "probes"] == [probes["metadata"]["name"]]
    for one in spec.get("initContainers", []):
        if "command" in one:
            assert set(one["command"][1:]) <= mounted
    assert server["readinessProbe"]["exec"]["command"][1] in mounted
    assert server["args"][0] in copied
    assert "command" not in server
    ready = importlib.import_module("deploy.kubernetes.probes.ready")
    assert f"{ready._IMAGE}/healthcheck.py" in copied
    assert server["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"


def grace_of(name, spec):
    if name == "kserve":
        return only("InferenceService", name)["spec"]["predictor"]["terminationGracePeriodSeconds"]
    return spec["terminationGracePeriodSeconds"]


def age_ms(server):
    [found] = [flag for flag in server["args"] if flag.startswith("--grpc-max-connection-age=")]
    return int(found.partition("=")[2])


@pytest.mark.parametrize("name", [*WORKLOADS, "kserve"])
def test_a_pod_that_is_told_to_stop_has_lost_its_callers_and_has_the_time_to_answer_the_rest(name):
    [(spec, server)] = servers(name)
    drain = int(dict(serve_flags())["--exit-timeout-secs"])
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    # gRPC ends a connection up to a tenth later than its age; endpoints take some seconds to drop a pod.
    assert pause >= age_ms(server) / 1000 * 1.1 + 5
    assert grace_of(name, spec) >= pause + drain + 15


@pytest.mark.parametrize("name", [*WORKLOADS, "kserve"])
def test_shared_memory_and_settings_are_those_of_the_compose_file(name):
    [(spec, server)] = servers(name)
    [service] = [one for key, one in tritons().items() if key.endswith("gpu" if name.endswith("gpu") else "cpu")]
    [shm] = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "shm"]
    assert shm["medium"] == "Memory"
    assert memory(shm["sizeLimit"]) >= amount(service["shm_size"])
    limits = server["resources"]["limits"]
    # What lies in it counts towards the memory.
    assert memory(limits["memory"]) >= max(
        amount(service["deploy"]["resources"]["limits"]["memory"]), 2 * memory(shm["sizeLimit"])
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert (mounts["shm"], mounts["tmp"]) == ("/dev/shm", "/tmp")
    told = environment(server)
    for key, value in service["environment"].items():
        if key.startswith("MALLOC"):
            assert told[key] == value
    assert told["OMP_NUM_THREADS"]["resourceFieldRef"] == {"containerName": server["name"], "resource": "limits.cpu"}
    assert re.fullmatch(r"\d+", limits["cpu"])


def test_triton_gets_the_arguments_that_it_knows_and_finds_the_repository_where_it_is_mounted():
    script = (ROOT / "deploy" / "serve.sh").read_text()
    default = re.search(r"\$\{UNDERSTUDY_MODELS:-(.+?)\}", script)[1]
    for name in WORKLOADS:
        [(_, server)] = servers(name)
        [models] = [mount for mount in server["volumeMounts"] if mount["name"] == "models"]
        assert (models["mountPath"], models["readOnly"]) == (default, True)
        assert "UNDERSTUDY_MODELS" not in environment(server)
    [(_, served)] = servers("kserve")
    assert environment(served)["UNDERSTUDY_MODELS"] == "/mnt/models"
    binary = ROOT / "build" / "triton" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    flags = {flag.partition("=")[0] for name in (*WORKLOADS, "kserve") for flag in servers(name)[0][1]["args"][1:]}
    assert flags == {"--grpc-max-connection-age", "--grpc-max-connection-age-grace"}
    # The live tests set the embedded server up; where it is, its own list of options is asked.
    assert not binary.exists() or all(flag[2:].encode() in binary.read_bytes() for flag in flags)


def test_the_gpu_overlay_alone_takes_a_gpu():
    for name in WORKLOADS:
        [(spec, server)] = servers(name)
        gpus = server["resources"]["limits"].get("nvidia.com/gpu")
        assert gpus == ("1" if name == "overlays/gpu" else None)
        assert ("tolerations" in spec) == (name == "overlays/gpu")


@WORKLOAD
def test_no_request_has_to_fail_in_a_rolling_update(name):
    deployment = only("Deployment", name)
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    [(_, server)] = servers(name)
    assert deployment["spec"]["minReadySeconds"] >= 2 * server["readinessProbe"]["periodSeconds"]
    assert deployment["spec"]["progressDeadlineSeconds"] > waited(server["startupProbe"])
    predictor = only("InferenceService", "kserve")["spec"]["predictor"]
    assert predictor["deploymentStrategy"] == deployment["spec"]["strategy"]


@WORKLOAD
def test_whatever_selects_pods_selects_those_of_the_deployment(name):
    deployment = only("Deployment", name)
    labels, spec = pod(deployment)
    assert deployment["spec"]["selector"]["matchLabels"] == TRITON_POD
    assert TRITON_POD.items() <= labels.items()
    selectors = [service["spec"]["selector"] for service in of_kind("Service", name)]
    selectors += [only("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"]]
    selectors += [one["labelSelector"]["matchLabels"] for one in spec["topologySpreadConstraints"]]
    assert len(selectors) == 5
    assert all(selector == TRITON_POD for selector in selectors)


@WORKLOAD
def test_a_drained_node_takes_one_pod_and_a_broken_pod_blocks_nothing(name):
    budget = only("PodDisruptionBudget", name)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    least = (
        [only("ScaledObject", name)["spec"]["minReplicaCount"]]
        if of_kind("ScaledObject", name)
        else [only("Deployment", name)["spec"]["replicas"]]
    )
    assert least[0] > budget["maxUnavailable"]


@WORKLOAD
def test_ports_are_those_of_the_image_the_watch_and_the_services(name):
    _, spec = pod(only("Deployment", name))
    exposed = {int(port) for line in instructions("EXPOSE") for port in line.split()}
    ports = {port["name"]: port["containerPort"] for one in spec["containers"] for port in one["ports"]}
    assert ports == {"http": 8000, "grpc": 8001, "metrics": 8002, "watch": 8003}
    assert set(ports.values()) - {8003} == exposed
    # serve.sh names no port, so Triton's own stand.
    assert "-port" not in (ROOT / "deploy" / "serve.sh").read_text()
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind("Service", name)}
    for service in services.values():
        assert all(ports[port["targetPort"]] == port["port"] for port in service["ports"])
    offered = {key: {port["name"] for port in service["ports"]} for key, service in services.items()}
    assert offered == {
        "understudy": {"http", "grpc"},
        "understudy-headless": {"http", "grpc"},
        "understudy-metrics": {"metrics", "watch"},
    }
    assert services["understudy-headless"]["clusterIP"] == services["understudy-metrics"]["clusterIP"] == "None"
    assert services["understudy-metrics"]["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in services["understudy-headless"]


# Who may ask whom.


@WORKLOAD
def test_callers_reach_inference_prometheus_the_metrics_and_nobody_else_anything(name):
    deny = rules_of(name, "understudy-deny")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policy = rules_of(name, "understudy-triton")
    assert policy["podSelector"]["matchLabels"] == TRITON_POD
    callers, control, prometheus = policy["ingress"]
    assert [port["port"] for port in callers["ports"]] == [8000, 8001]
    assert callers["from"] == [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"understudy-access": "caller"}}}
    ]
    assert [port["port"] for port in control["ports"]] == [8001]
    assert control["from"] == [{"podSelector": {"matchLabels": {"understudy-access": "control"}}}]
    assert [port["port"] for port in prometheus["ports"]] == [8002, 8003]
    [who] = prometheus["from"]
    assert who["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    # Triton's pods have no way out but to the bucket.
    ways = [one["spec"] for one in of_kind("NetworkPolicy", name) if "egress" in one["spec"]]
    labels, _ = pod(only("Deployment", name))
    open_ = [way for way in ways if way["podSelector"].get("matchLabels", {"": ""}).items() <= labels.items()]
    assert len(open_) == (1 if name == "overlays/production" else 0)


def test_the_job_that_loads_is_the_one_that_the_policy_lets_in():
    labels, spec = pod(only("Job", "jobs/load"))
    assert labels["understudy-access"] == "control"
    assert environment(container(spec, "load")).keys() == {"UNDERSTUDY_CONTROL_KEY"}
    others = [labels for name in FOLDERS if name != "jobs/load" for labels, _ in pods(name)]
    assert all(labels.get("understudy-access") != "control" for labels in others)
