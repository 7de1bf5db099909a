"""How a release comes into the pods of deploy/kubernetes/, and what is watched and scaled by."""

import importlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ruamel.yaml import YAML

from python_backend.hybrid.tally import FAMILIES
from tests.contract.kubernetes import (
    HOME,
    ROOT,
    WORKLOADS,
    container,
    environment,
    of_kind,
    only,
    only_config,
    pod,
    servers,
)
from tests.contract.test_monitoring import TRITON, metrics, promtool, watched

# Releases.


def test_the_release_is_copied_then_checked_then_served():
    _, spec = pod(only("Deployment", "overlays/production"))
    assert [one["name"] for one in spec["initContainers"]] == ["sync", "intact"]
    [models] = [volume for volume in spec["volumes"] if volume["name"] == "models"]
    assert models == {"name": "models", "emptyDir": {"sizeLimit": "20Gi"}}
    assert of_kind("PersistentVolumeClaim", "overlays/production") == []
    sync = container(spec, "sync")
    assert sync["args"][-2:] == ["store:$(UNDERSTUDY_BUCKET)/$(UNDERSTUDY_RELEASE)", "/models"]
    names = set(re.findall(r"\$\((\w+)\)", sync["args"][-2]))
    settings = only_config("overlays/production", "understudy-storage")["data"]
    assert names <= settings.keys() | environment(sync).keys()
    # In the pods' template, so that a rollback of the Deployment takes it back.
    assert environment(sync)["UNDERSTUDY_RELEASE"] == "1"
    assert only("InferenceService", "kserve")["spec"]["predictor"]["model"]["storageUri"].endswith("/1")


def test_the_docs_have_a_release_copied_into_the_folder_that_is_served_before_anything_is_applied():
    _, spec = pod(only("Deployment", "overlays/production"))
    bucket = only_config("overlays/production", "understudy-storage")["data"]["UNDERSTUDY_BUCKET"]
    folder = f"store:{bucket}/{environment(container(spec, 'sync'))['UNDERSTUDY_RELEASE']}"
    section = (ROOT / "docs" / "kubernetes.md").read_text().partition("## Run it")[2].partition("\n## ")[0]
    before, applied, _ = section.partition("kubectl apply -k")
    assert applied
    for needed in (f"`{folder}`", "(#a-release-travels)", "Prometheus operator and KEDA"):
        assert needed in before


def test_all_is_checked_before_it_is_served_from_a_volume_too():
    for name in ("overlays/cpu", "overlays/gpu"):
        _, spec = pod(only("Deployment", name))
        assert [one["name"] for one in spec["initContainers"]] == ["intact"]
        [models] = [volume for volume in spec["volumes"] if volume["name"] == "models"]
        claim = only("PersistentVolumeClaim", name)["metadata"]["name"]
        assert models["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}


def release(root):
    version = root / "net_onnx" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"a graph")
    done = subprocess.run(["sha256sum", "model.onnx"], cwd=version, check=True, capture_output=True, text=True)
    (version / "SHA256SUMS").write_text(done.stdout)
    return version


def intact(root):
    command = ["sh", HOME / "probes" / "intact.sh"]
    return subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "UNDERSTUDY_MODELS": str(root)},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_damaged_release_an_incomplete_and_an_empty_one_start_no_pod(tmp_path):
    assert intact(tmp_path).returncode == 1
    version = release(tmp_path)
    assert intact(tmp_path).returncode == 0
    (version / "model.onnx").write_bytes(b"a grape")
    assert intact(tmp_path).returncode != 0
    (version / "model.onnx").unlink()
    assert intact(tmp_path).returncode != 0


class Server(BaseHTTPRequestHandler):
    """Triton's HTTP, as far as the health check goes: hybrids, whose answer is `status`, and a "trial" that fails."""

    status, names = 200, ("net",)

    def _give(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        config = {"parameters": {"primary_model": {}}, "max_batch_size": 1, "input": []}
        self._give(200, json.dumps(config).encode())

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/index"):
            self._give(200, json.dumps([{"name": name, "version": "1"} for name in self.names]).encode())
        else:
            self._give(500 if "/trial/" in self.path else self.status, b"")

    def log_message(self, *_):
        pass


def asked(required, skip="", status=200, names=("net",)):
    handler = type("Handler", (Server,), {"status": status, "names": names})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        told = {
            "UNDERSTUDY_IMAGE": str(ROOT / "deploy"),
            "UNDERSTUDY_HTTP": f"127.0.0.1:{server.server_port}",
            "UNDERSTUDY_REQUIRED": required,
            "UNDERSTUDY_HEALTH_SKIP": skip,
        }
        command = [sys.executable, HOME / "probes" / "ready.py"]
        result = subprocess.run(command, env=told, check=False, capture_output=True, text=True, timeout=30)
        server.shutdown()
    return result.returncode, result.stderr


def test_a_pod_is_ready_while_all_that_it_must_serve_answer():
    assert asked("net") == (0, "")
    assert asked("") == (0, "")
    assert asked("net", status=500)[0] == 1
    assert asked("net,other", "other") == (0, "")


def test_a_model_that_nobody_requires_takes_no_pod_out_of_service():
    assert asked("net", names=("net", "trial")) == (0, "")
    code, why = asked("net,trial", names=("net", "trial"))
    assert code == 1
    assert why.startswith("/v2/models/trial/versions/1/infer: expected an answer, found status 500")
    assert asked("", names=("net", "trial"))[0] == 1, "without names all that is loaded is asked"


def test_a_pod_whose_release_did_not_load_is_not_ready():
    code, why = asked("net,other")
    assert (code, why) == (1, "other: expected hybrids that are loaded, found net\n")
    assert asked("net", names=())[1] == "net: expected hybrids that are loaded, found none\n"


def test_a_pod_is_ready_by_the_models_that_its_settings_name():
    for name in WORKLOADS:
        settings = only_config(name, "understudy-settings")
        [(_, server)] = servers(name)
        assert server["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
        required = settings["data"]["UNDERSTUDY_REQUIRED"].split(",")
        assert required
        assert set(required) <= {path.parent.name for path in (ROOT / "models").glob("*/model.toml")}
        assert settings["data"]["UNDERSTUDY_HEALTH_SKIP"] == ""


# What is watched, and what scales.


def test_no_rule_is_written_twice():
    made = importlib.import_module("deploy.kubernetes.components.monitoring.make_rules")
    told = "deploy/monitoring/rules has changed: run deploy/kubernetes/components/monitoring/make_rules.py"
    assert (HOME / "components" / "monitoring" / "rules.yaml").read_text() == made.rendered(made.RULES), told
    ours = {one["metadata"]["name"]: one["spec"] for one in of_kind("PrometheusRule", "overlays/production")}
    read = {f"understudy-{path.stem}": YAML(typ="safe").load(path.read_text()) for path in made.RULES.glob("*.yml")}
    assert ours == read
    assert len(read) == 2


def test_prometheus_asks_as_often_and_under_the_jobs_that_the_rules_name():
    configured = YAML(typ="safe").load((ROOT / "deploy" / "monitoring" / "prometheus.yml").read_text())
    monitor = only("ServiceMonitor", "overlays/production")["spec"]
    [service] = [
        one
        for one in of_kind("Service", "overlays/production")
        if monitor["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} == {
        port["name"] for port in service["spec"]["ports"]
    }
    jobs = set()
    for endpoint in monitor["endpoints"]:
        assert endpoint["interval"] == configured["global"]["scrape_interval"]
        assert endpoint["scrapeTimeout"] == configured["global"]["scrape_timeout"]
        server, *ready = endpoint["relabelings"]
        assert server == {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "server"}
        by_state = {one["regex"]: one["replacement"] for one in ready}
        assert all(one["targetLabel"] == "job" for one in ready)
        assert by_state["false|unknown"] == f"{by_state['true']}-not-ready"
        jobs.add(by_state["true"])
    assert jobs == {one["job_name"] for one in configured["scrape_configs"]}
    expressions = [
        rule["expr"]
        for one in of_kind("PrometheusRule", "overlays/production")
        for group in one["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert jobs == set(re.findall(r'job="(\w+)"', " ".join(expressions)))


def test_every_metric_that_is_asked_for_is_one_that_triton_the_hybrid_or_the_watch_has():
    triggers = only("ScaledObject", "overlays/production")["spec"]["triggers"]
    queries = {trigger["name"]: trigger["metadata"]["query"] for trigger in triggers}
    assert {name: metrics(query) for name, query in queries.items()} == {
        "queue": {"nv_inference_queue_duration_us"},
        "pending": {"ml_pending_requests", "ml_told_timestamp_seconds"},
        "fallbacks": {"ml_backend_selected"},
    }
    groups = [group for one in of_kind("PrometheusRule", "overlays/production") for group in one["spec"]["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    exposed = FAMILIES.keys() | watched() | TRITON | {"up"} | {rule["record"] for rule in rules if "record" in rule}
    for expression in [*queries.values(), *(rule["expr"] for rule in rules)]:
        assert metrics(expression) <= exposed, expression
    for query in queries.values():
        assert query.startswith("sum("), "what does not fall as pods come would scale to the maximum"
        assert set(re.findall(r'namespace="(\w+)"', query)) == {"understudy"}
    assert 'reason!="preferred"' in queries["fallbacks"]


def test_what_a_killed_hybrid_left_in_the_metrics_keeps_no_pods(tmp_path):
    triggers = only("ScaledObject", "overlays/production")["spec"]["triggers"]
    [query] = [trigger["metadata"]["query"] for trigger in triggers if trigger["name"] == "pending"]
    labels = 'namespace="understudy", pod="a", model="net"'
    shown = {
        f'ml_pending_requests{{{labels}, process="17"}}': "640x60",
        f'ml_told_timestamp_seconds{{{labels}, process="17"}}': "1700000000+15x4 1700000060x56",
        f'ml_pending_requests{{{labels}, process="99"}}': "_x5 2x55",
        f'ml_told_timestamp_seconds{{{labels}, process="99"}}': "_x5 1700000075+15x55",
        # Of an older release: it does not tell when it told.
        'ml_pending_requests{namespace="understudy", pod="b", model="net", process="17"}': "5x60",
    }
    expected = {"1m": 645, "10m": 7}
    one = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in shown.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": when, "exp_samples": [{"labels": "{}", "value": value}]}
            for when, value in expected.items()
        ],
    }
    (tmp_path / "keda.yml").write_text(json.dumps({"evaluation_interval": "15s", "tests": [one]}))
    result = promtool("test", "rules", str(tmp_path / "keda.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_scaling_keeps_within_its_bounds_and_owns_the_number_of_pods():
    spec = only("ScaledObject", "overlays/production")["spec"]
    deployment = only("Deployment", "overlays/production")
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    assert 2 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] > behavior["scaleUp"]["stabilizationWindowSeconds"]
    assert all(trigger["metricType"] == "AverageValue" for trigger in spec["triggers"])
