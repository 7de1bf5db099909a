"""What deploy/monitoring/ ships, on a real Prometheus that asks a real Triton and its watch, under a little load."""

import json
import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from tritonclient.utils import InferenceServerException

from serving import LoadFailed
from serving.ports import LOOPBACK, choose
from tests.programs import program

from .hybrid_net import Net, Shape

ROOT = Path(__file__).parents[2]
MONITORING = Path("deploy") / "monitoring"
MODEL = "monitored"
# Never loads: what the watch calls broken.
BROKEN = Path(__file__).parent / "serving_models" / "broken"
# Rows that start with these are answered wrongly or late; see `provoked`.
FAILS, SLEEPS, FAILS_ANYWHERE, ROWS = 2.0, 3.0, 4.0, 5.0


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, asked over its HTTP API."""

    url: str

    def get(self, path, **parameters):
        """The `data` of an answer. Raises AssertionError with what Prometheus says of a query that is wrong."""
        try:
            with urllib.request.urlopen(
                f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10
            ) as r:
                return json.load(r)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def values(self, query):
        """The values that a query gives now, without those that are no number.

        Infinite is what a division by nothing gives, but for the shadow: twins of which one gives NaN are so far apart.
        """
        data = self.get("query", query=query)
        found = [data] if data["resultType"] == "scalar" else [series["value"] for series in data["result"]]
        values = [float(value) for _, value in found]
        return [value for value in values if math.isfinite(value) or ("shadow_worst" in query and value == math.inf)]

    def alerts(self, name):
        """The alerts of a rule that are pending or firing now."""
        return [alert for alert in self.get("alerts")["alerts"] if alert["labels"]["alertname"] == name]


def wait_for(what, seconds=60.0):
    """What `what` gives as soon as it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)
    return found


@contextmanager
def running(command, folder, name, cwd):
    """A program with its output in `folder`, from start to SIGTERM. Gives the file of its standard output."""
    out, log = folder / f"{name}.out", folder / f"{name}.log"
    with out.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=cwd)
    try:
        yield out
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def watching(triton, folder):
    """The watch beside the session's server, for this model alone; gives its address."""
    names = ",".join((MODEL, f"{MODEL}_onnx", f"{MODEL}_original", "broken"))
    command = [sys.executable, "-m", "serving", "watch", "--grpc-url", triton.server.grpc_url, "--watch-port", "0"]
    command += ["--interval", "1", "--models", names, "--repository", str(triton.repository)]
    with running(command, folder, "watch", cwd=ROOT) as out:
        yield wait_for(lambda: re.findall(r"^watch\thttp://(\S+)/metrics$", out.read_text(), re.MULTILINE))[0]


@contextmanager
def prometheus(triton, watch, folder):
    """Prometheus as docs/monitoring.md starts it, on a copy of what is shipped: targets and port alone differ."""
    shutil.copytree(ROOT / MONITORING, folder / MONITORING)
    for path, shipped, address in (
        ("triton.yml", "127.0.0.1:8002", triton.server.metrics_url),
        ("watch.yml", "127.0.0.1:8003", watch),
    ):
        targets = folder / MONITORING / "targets" / path
        assert shipped in targets.read_text()
        targets.write_text(targets.read_text().replace(shipped, address))
    page = (ROOT / "docs" / "monitoring.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("prometheus ")]
    address = f"{LOOPBACK}:{choose({'prometheus': None})['prometheus']}"
    assert "127.0.0.1:9090" in line
    _, *words = shlex.split(line.replace("127.0.0.1:9090", address))
    with running([str(program("prometheus", "prometheus")), *words], folder, "prometheus", cwd=folder):
        yield Prometheus(f"http://{address}")


def misfortunes(net):
    """What the twins do with rows that start with certain values."""
    fails = {str(FAILS_ANYWHERE): "neither can"}
    net.behave("onnx", error={str(FAILS): "out of order", **fails}, sleep_s={str(SLEEPS): 0.6}, nan=[str(ROWS)])
    net.behave("original", error=fails)


def ask(net, first, **options):
    """One request whose row starts with `first`; whether it was answered."""
    try:
        net.ask(np.array([[first, 1.0]], np.float32), **options)
    except InferenceServerException:
        return False
    return True


def provoke(net, stop):
    """Everything that a hybrid counts, over and over, mostly answers that are right: the breakers stay closed."""
    while not stop.is_set():
        for first, options in (
            (1.0, {}),
            (FAILS, {}),
            (1.0, {"parameters": {"prefer": "original"}}),
            (SLEEPS, {"parameters": {"deadline_ms": 400}}),
            (FAILS_ANYWHERE, {}),
            (math.nan, {}),
            (ROWS, {}),
        ):
            for _ in range(8):
                ask(net, 1.0)
            ask(net, first, **options)
            stop.wait(0.05)
        # The shadow compares only while no call is late; a hybrid that was loaded anew meanwhile has compared nothing.
        stop.wait(0.7)
        for _ in range(3):
            ask(net, 1.0)
            stop.wait(0.1)


@pytest.fixture(scope="module")
def net(triton):
    """A hybrid whose every answer is compared, by a tolerance that its twins keep."""
    made = Net(triton, MODEL, Shape(parameters={"shadow_share": "1", "shadow_keep": "0"}))
    evidence = triton.repository / MODEL / "1" / "evidence.json"
    evidence.write_text(json.dumps({"parity": {"atol": 0.01, "rtol": 0.0}}))
    yield made.load()
    made.close()


@pytest.fixture(scope="module")
def monitored(triton, net, tmp_path_factory):
    """Prometheus, once it has seen Triton and the watch, and each misfortune has begun."""
    folder = tmp_path_factory.mktemp("monitoring")
    with watching(triton, folder) as watch, prometheus(triton, watch, folder) as made:
        wait_for(lambda: (folder / "prometheus.log").read_text().count("Server is ready"))
        assert wait_for(lambda: made.values("up == 1") == [1, 1]), "Triton and the watch"
        # The watch finds the twin dead and loads it anew, and the hybrid's breaker opens and closes.
        ask(net, 1.0)
        net.signal("onnx", signal.SIGKILL)
        ask(net, 1.0)
        wait_for(lambda: made.values('understudy_watch_repairs_total{outcome="repaired"} > 0'))
        wait_for(lambda: net.ask(np.ones((1, 2), np.float32)).served_by == ["onnx"])
        # The shadow looks only while all is well, which it rarely is from here on.
        wait_for(lambda: ask(net, 1.0) and made.values("ml_shadow_worst"))
        shutil.copytree(BROKEN, triton.repository / "broken")
        with pytest.raises(LoadFailed):
            triton.control.load("broken")
        misfortunes(net)
        yield made
        shutil.rmtree(triton.repository / "broken")


@pytest.fixture(scope="module")
def loaded(monitored, net):
    """The same, while the misfortunes go on."""
    stop = threading.Event()
    thread = threading.Thread(target=provoke, args=(net, stop))
    thread.start()
    yield monitored
    stop.set()
    thread.join()


def in_dashboard(query):
    """A panel's query as Grafana would send it, with a server and all models chosen."""
    return query.replace("$server", "local").replace("$model", f"({MODEL})")


def panels():
    [path] = (ROOT / MONITORING / "grafana" / "dashboards").glob("*.json")
    dashboard = json.loads(path.read_text())
    return dashboard, [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def recorded():
    groups = YAML(typ="safe").load((ROOT / MONITORING / "rules" / "recording.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        labels = ", ".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
        yield f"{rule['record']}{{{labels}}}"


def gives_data(prometheus, query):
    """Whether a query gives a number, now or within three looks of Prometheus after the load has begun."""
    try:
        return wait_for(lambda: prometheus.values(query), 30.0)
    except AssertionError:
        return []


def test_every_recording_rule_gives_data(loaded):
    # Only of a process that is dead, and this hybrid's lives.
    silent = "server_model_process:told_nothing:offset30s{}"
    queries = list(recorded())
    assert silent in queries
    empty = [query for query in queries if query != silent and not gives_data(loaded, query)]
    assert empty == []
    assert loaded.values(f'server_model_process:told_nothing:offset30s{{model="{MODEL}"}}') == []


def test_every_panel_of_the_dashboard_gives_data(loaded):
    _, all_ = panels()
    assert len(all_) > 30
    queries = [(panel["title"], target["expr"]) for panel in all_ for target in panel["targets"]]
    empty = [(title, query) for title, query in queries if not gives_data(loaded, in_dashboard(query))]
    assert empty == []


def test_the_dashboards_variables_find_server_and_model(loaded):
    dashboard, _ = panels()
    found = {}
    for variable in dashboard["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        query, label = in_dashboard(match[1]), match[2]
        found[variable["name"]] = loaded.get(f"label/{label}/values", **{"match[]": query})
    assert found["server"] == ["local"]
    # Another test may have killed a hybrid of its own on this server, which stays to be found.
    assert MODEL in found["model"]


def test_what_was_done_is_what_is_shown(loaded):
    """A few figures by their size, since a query that gives a number may give a wrong one."""
    reasons = 'server_model_backend_reason:selected:rate5m{model="monitored", backend="original", reason="%s"} > 0'
    for reason in ("preferred", "error", "late", "rows"):
        assert gives_data(loaded, reasons % reason), reason
    # Of 63 requests one fails, and one is the caller's mistake.
    [share] = gives_data(loaded, f'server_model:success:ratio5m{{model="{MODEL}"}} < 1')
    assert 0.93 < share < 1
    [fallbacks] = gives_data(loaded, f'server_model:fallbacks:ratio5m{{model="{MODEL}"}} > 0')
    assert 0.01 < fallbacks < 0.25
    [late] = gives_data(loaded, f'server_model_backend:deadlines_missed:ratio5m{{model="{MODEL}", backend="onnx"}} > 0')
    assert late < 0.1
    quantiles = {
        quantile: gives_data(
            loaded,
            f'server_model_backend:duration_seconds:quantile5m{{backend="onnx", quantile="{quantile}"}} > 0',
        )[0]
        for quantile in ("0.5", "0.95", "0.99")
    }
    assert quantiles["0.5"] <= quantiles["0.95"] <= quantiles["0.99"] <= 1.0


def test_every_rule_is_evaluated_without_an_error(loaded):
    def done():
        groups = loaded.get("rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else None

    found = wait_for(done)
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
    shipped = YAML(typ="safe").load((ROOT / MONITORING / "rules" / "alerts.yml").read_text())["groups"]
    alerts = {rule["name"] for rule in found if rule["type"] == "alerting"}
    assert alerts == {rule["alert"] for group in shipped for rule in group["rules"]}


def test_the_alert_of_a_version_that_does_not_load_fires_at_once(loaded):
    [alert] = wait_for(lambda: loaded.alerts("VersionBroken"))
    assert alert["state"] == "firing"
    assert alert["annotations"]["summary"] == "Version 1 of broken does not load"
    for name in ("TritonDown", "WatchDown", "BothBreakersOpen"):
        # One scrape that fails leaves them pending.
        assert [other for other in loaded.alerts(name) if other["state"] == "firing"] == []


def test_an_unloaded_twin_opens_the_breaker_and_alerts_until_it_is_back(loaded, net, triton):
    assert loaded.alerts("BreakerOpen") == []
    triton.control.unload(f"{MODEL}_onnx")
    assert ask(net, 1.0), "the original answers"
    [alert] = wait_for(lambda: loaded.alerts("BreakerOpen"))
    assert alert["state"] == "pending"
    assert alert["labels"]["backend"] == "onnx"
    assert alert["annotations"]["summary"] == f"The onnx twin of {MODEL} is not asked"
    wait_for(lambda: ask(net, 1.0) and loaded.alerts("BreakerOpen")[0]["state"] == "firing")
    [worse] = loaded.alerts("OnnxTwinNotAsked")
    assert worse["state"] == "pending"
    assert loaded.alerts("BothBreakersOpen") == []
    triton.control.load(f"{MODEL}_onnx")
    wait_for(lambda: ask(net, 1.0) and not loaded.alerts("BreakerOpen"), 90.0)
