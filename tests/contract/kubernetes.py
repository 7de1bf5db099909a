"""deploy/kubernetes/ as kubectl's own kustomize renders it, and the terms in which tests hold it to something."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
HOME = ROOT / "deploy" / "kubernetes"
# The oldest that is still supported, and the newest.
VERSIONS = ("1.34", "1.37")
UNITS = {"": 1, "Mi": 1 << 20, "Gi": 1 << 30}
TRITON_POD = {"app.kubernetes.io/name": "understudy", "app.kubernetes.io/component": "triton"}

# What of the fields of other people's kinds is used here, and of what type: a list stands for each of its items, a
# string for any value that fits the expression, "…" for whatever stands there, a set for the words that may.
WORD = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
DURATION = r"\d+(ms|s|m|h)"
RELABELING = {"sourceLabels": [r"__meta_\w+"], "targetLabel": r"\w+", "regex": ".+", "replacement": WORD}
ENDPOINT = {
    "port": WORD,
    "path": "/metrics",
    "interval": DURATION,
    "scrapeTimeout": DURATION,
    "relabelings": [RELABELING],
}
RULE = {
    "alert": r"\w+",
    "record": r"[\w:]+",
    "expr": r"[\s\S]+",
    "for": DURATION,
    "labels": "…",
    "annotations": "…",
}
POLICY = {"type": {"Pods", "Percent"}, "value": int, "periodSeconds": int}
SCALING = {"stabilizationWindowSeconds": int, "policies": [POLICY]}
TRIGGER = {
    "type": "prometheus",
    "name": WORD,
    "metricType": {"AverageValue"},
    "metadata": {"serverAddress": r"http://[\w.-]+:\d+", "query": ".+", "threshold": r"\d+"},
}
CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "selector": {"matchLabels": "…"},
        "endpoints": [ENDPOINT],
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups": [{"name": r"[\w-]+", "rules": [RULE]}]},
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef": {"name": WORD},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "fallback": {
            "failureThreshold": int,
            "replicas": int,
            "behavior": {"static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"},
        },
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": SCALING, "scaleDown": SCALING}}},
        "triggers": [TRIGGER],
    },
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): {
        "annotations": "…",
        "supportedModelFormats": [{"name": WORD, "version": r"\d+", "autoSelect": bool}],
        "protocolVersions": [r"v2|grpc-v2"],
        "multiModel": bool,
        # Both are held to Kubernetes' schema of a pod.
        "containers": "…",
        "volumes": "…",
    },
    ("serving.kserve.io/v1beta1", "InferenceService"): {
        "predictor": {
            "minReplicas": int,
            "maxReplicas": int,
            "scaleMetric": {"cpu", "memory", "concurrency", "rps"},
            "scaleTarget": int,
            "terminationGracePeriodSeconds": int,
            "deploymentStrategy": "…",
            "serviceAccountName": WORD,
            "securityContext": "…",
            "model": {"modelFormat": {"name": WORD}, "runtime": WORD, "storageUri": r"(s3|gs|pvc)://.+"},
        }
    },
}
# Of those, what has to be there.
NEEDED = {
    "ServiceMonitor": {"selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "ScaledObject": {"scaleTargetRef", "triggers"},
    "ServingRuntime": {"supportedModelFormats", "containers"},
    "InferenceService": {"predictor"},
}


def kustomize(folder):
    command = [Path(sys.executable).parent / "kubectl", "kustomize", folder]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@cache
def rendered(name):
    """Every resource of a folder of deploy/kubernetes. Do not change what it gives."""
    result = kustomize(HOME / name)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return list(YAML(typ="safe").load_all(result.stdout))


def of_kind(kind, name):
    return [one for one in rendered(name) if one["kind"] == kind]


def only(kind, name):
    [found] = of_kind(kind, name)
    return found


WORKLOADS = ("overlays/cpu", "overlays/gpu", "overlays/production")
FOLDERS = (*WORKLOADS, "jobs/load", "jobs/publisher", "loadtest", "kserve")
WORKLOAD = pytest.mark.parametrize("name", WORKLOADS)
FOLDER = pytest.mark.parametrize("name", FOLDERS)


def only_config(name, begin):
    [found] = [
        one for one in of_kind("ConfigMap", name) if re.fullmatch(rf"{begin}-[a-z0-9]{{10}}", one["metadata"]["name"])
    ]
    return found


def pod(resource):
    """The pod's labels and its specification, of whatever makes pods."""
    if resource["kind"] == "ServingRuntime":
        return {}, resource["spec"]
    template = resource["spec"]["template"]
    return template["metadata"]["labels"], template["spec"]


def pods(name):
    return [pod(one) for one in rendered(name) if one["kind"] in {"Deployment", "Job", "ServingRuntime"}]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def container(spec, name):
    [found] = [one for one in containers(spec) if one["name"] == name]
    return found


def servers(name):
    """The specification of each pod that runs Triton, and the container that does."""
    return [
        (spec, one)
        for _, spec in pods(name)
        for one in spec["containers"]
        if one["image"].startswith("understudy-triton:")
    ]


def environment(one):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in one.get("env", [])}


def memory(quantity):
    match = re.fullmatch(r"(\d+)(Mi|Gi|)", quantity)
    assert match, quantity
    return int(match[1]) * UNITS[match[2]]


def schema(shape):
    """A JSON Schema out of the terms of CUSTOM. A field that is not named there is refused."""
    if isinstance(shape, dict):
        fields = {key: schema(value) for key, value in shape.items()}
        return {"type": "object", "properties": fields, "additionalProperties": False}
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0]), "minItems": 1}
    if isinstance(shape, set):
        return {"enum": sorted(shape)}
    if isinstance(shape, str):
        return {} if shape == "…" else {"type": "string", "pattern": f"^(?:{shape})$"}
    return {"type": {int: "integer", bool: "boolean"}[shape]}


def checked(resource):
    """What is wrong with a resource, by Kubernetes' own schemas or by CUSTOM."""
    shape = CUSTOM.get((resource["apiVersion"], resource["kind"]))
    if shape is None:
        wrong = []
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                wrong.append(f"{version}: {error.message}")
        return wrong
    whole = {**schema(shape), "required": sorted(NEEDED[resource["kind"]])}
    return [f"{one.json_path}: {one.message}" for one in Draft202012Validator(whole).iter_errors(resource["spec"])]


def rules_of(name, policy):
    [found] = [one["spec"] for one in of_kind("NetworkPolicy", name) if one["metadata"]["name"] == policy]
    return found
