"""deploy/monitoring/ held to Prometheus's own checks, to what the product exposes, and to docs/monitoring.md.

The queries meet a real Prometheus and a real Triton in tests/live/test_monitoring.py.
"""

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from python_backend.hybrid.tally import FAMILIES
from serving.watch.telling import _MANY, Telling
from tests.programs import ProgramMissing, program, unpacked

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "rules"
TESTS = sorted((RULES / "tests").glob("*.yml"))
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
# What Triton 24.10 exposes without a GPU, as far as it is used; the live test finds each of them there.
TRITON = {
    "nv_cpu_memory_total_bytes",
    "nv_cpu_memory_used_bytes",
    "nv_cpu_utilization",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_pending_request_count",
    "nv_inference_queue_duration_us",
    "nv_inference_request_failure",
    "nv_inference_request_success",
}
# What Prometheus makes by itself.
PROMETHEUS = {"up", "ALERTS"}
KEYWORDS = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or", "unless", "without"}


def read(path):
    return YAML(typ="safe").load(path.read_text())


def rules(name):
    return [rule for group in read(RULES / name)["groups"] for rule in group["rules"]]


RECORDED = {rule["record"] for rule in rules("recording.yml")}
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
DASHBOARDS = {path: json.loads(path.read_text()) for path in (MONITORING / "grafana" / "dashboards").glob("*.json")}
PANELS = [panel for dashboard in DASHBOARDS.values() for panel in dashboard["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def promtool(*words, cwd=ROOT):
    command = [program("prometheus", "promtool"), *words]
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=60)


def metrics(expression):
    """The names of the metrics in an expression of PromQL: what is left of its words when all else is taken out."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    # Of a number like 1e6 no word is left.
    words = re.findall(r"(?<![\w.:])[A-Za-z_:][\w:]*(?!\s*\()\b(?!\s*\()", bare)
    return set(words) - KEYWORDS


def watched():
    """Every metric of the watch."""
    registry = CollectorRegistry()
    Telling(print, registry)
    return {f"{each.name}_total" if each.type == "counter" else each.name for each in registry.collect()}


def test_the_names_in_an_expression_are_found():
    expression = 'sum by (server) (rate(ml_a{x="nv_b"}[5m])) / 1e6 > bool 0.5 or on (x) group_left () c:d:e5m unless up'
    assert metrics(expression) == {"ml_a", "c:d:e5m", "up"}


def test_prometheus_takes_the_configuration():
    result = promtool("check", "config", str(MONITORING / "prometheus.yml"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 rule files found" in result.stdout


def test_prometheus_takes_the_configuration_with_the_containers_targets(tmp_path):
    shutil.copytree(MONITORING, tmp_path / "etc", ignore=shutil.ignore_patterns("targets"))
    (tmp_path / "etc" / "compose").rename(tmp_path / "etc" / "targets")
    result = promtool("check", "config", str(tmp_path / "etc" / "prometheus.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["recording.yml", "alerts.yml"])
def test_prometheus_takes_the_rules(name):
    result = promtool("check", "rules", str(RULES / name))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_unit_tests_say(path):
    result = promtool("test", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("old", "new", "tests"),
    [("< 0.995", "< 0.5", "models"), ("> 0.9\n", "> 0.5\n", "server"), ("for: 15s", "for: 0s", "twins")],
)
def test_the_unit_tests_find_a_limit_that_is_off(tmp_path, old, new, tests):
    shutil.copytree(RULES, tmp_path / "rules")
    alerts = tmp_path / "rules" / "alerts.yml"
    assert old in alerts.read_text()
    alerts.write_text(alerts.read_text().replace(old, new))
    assert "FAILED" in promtool("test", "rules", str(tmp_path / "rules" / "tests" / f"{tests}.yml")).stderr


def test_every_alert_is_tested_to_fire_and_to_stay_silent_on_the_same_series():
    fires, silent = set(), set()
    for path in TESTS:
        for one in read(path)["tests"]:
            cases = one.get("alert_rule_test", [])
            assert len({case["alertname"] for case in cases}) <= 1, one["name"]
            assert all(case["alertname"] == one["name"].split(",")[0] for case in cases)
            fires |= {case["alertname"] for case in cases if case["exp_alerts"]}
            silent |= {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == silent == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_where_and_what_to_do(name):
    alert = ALERTS[name]
    notes = alert["annotations"]
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert notes.keys() == {"summary", "description", "runbook"}
    assert notes["description"].endswith(".")
    # One sentence: what and where, then what to do.
    assert len(re.findall(r"[.;](?= |$)", re.sub(r"\{\{.*?\}\}", "x", notes["description"]))) == 2
    if name != "TritonNotScraped":
        assert "{{ $labels.server }}" in notes["description"]
    assert notes["runbook"] == f"docs/monitoring.md#{name.lower()}"


def test_every_alert_has_its_section_and_every_section_its_alert():
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == list(ALERTS)
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        assert text.strip().lower().startswith(f"{ALERTS[name]['labels']['severity']},"), name


def test_every_link_within_the_page_leads_to_a_heading():
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


def test_only_what_is_exposed_is_asked_for():
    exposed = FAMILIES.keys() | watched() | TRITON | PROMETHEUS | RECORDED
    for expression in [rule["expr"] for rule in (*rules("recording.yml"), *ALERTS.values())] + QUERIES:
        names = metrics(expression)
        assert names, expression
        assert names <= exposed, f"{names - exposed} in {expression}"


def test_nothing_is_recorded_for_nobody_and_the_list_of_tritons_metrics_holds_no_more_than_is_used():
    used = set().union(*map(metrics, [rule["expr"] for rule in (*rules("recording.yml"), *ALERTS.values())] + QUERIES))
    assert RECORDED - used == set()
    assert TRITON - used == set()


def test_every_metric_of_hybrid_and_watch_is_recorded_alerted_on_or_shown():
    used = set().union(*map(metrics, [rule["expr"] for rule in (*rules("recording.yml"), *ALERTS.values())] + QUERIES))
    assert FAMILIES.keys() | watched() <= used


def test_a_formula_is_written_once():
    """Rates and quantiles are recorded; alerts and panels read them."""
    for expression in [alert["expr"] for alert in ALERTS.values()] + QUERIES:
        assert not re.search(r"\b(rate|increase|histogram_quantile)\(", expression), expression


def test_the_watch_and_its_alert_call_somebody_at_the_same_number():
    assert ALERTS["DeadProcessesKept"]["expr"] == f"understudy_watch_dead_processes >= {_MANY}"


def test_every_way_to_give_a_model_up_is_in_its_section_in_the_words_of_the_alarm():
    lines, registry = [], CollectorRegistry()
    telling = Telling(lines.append, registry)
    telling.repair_failed("repaired", "why", given_up=True)
    telling.hangs("hanging")
    telling.failed_to_load("away", "why")
    alarms = [line for line in lines if "ALARM" in line]
    for model in ("repaired", "hanging", "away"):
        assert registry.get_sample_value("understudy_watch_given_up", {"model": model}) == 1
    assert inspect.getsource(Telling).count("_given_up.labels(model).set(1)") == len(alarms)
    [section] = re.findall(r"^### WatchGaveUp\n(.*?)^### ", PAGE, re.MULTILINE | re.DOTALL)
    quoted = re.findall(r'^- "([^"]+)":', section, re.MULTILINE)
    assert len(quoted) == len(alarms)
    assert all(words in alarm for words, alarm in zip(quoted, alarms, strict=True))


def test_every_target_names_its_server():
    for path in [*(MONITORING / "targets").glob("*.yml"), *(MONITORING / "compose").glob("*.yml")]:
        for entry in read(path):
            assert entry["labels"].keys() == {"server"}, path


def test_what_is_scraped_is_where_make_serve_and_compose_listen():
    [triton] = read(MONITORING / "targets" / "triton.yml")
    [watch] = read(MONITORING / "targets" / "watch.yml")
    assert (triton["targets"], watch["targets"]) == (["127.0.0.1:8002"], ["127.0.0.1:8003"])
    assert triton["labels"] == watch["labels"]
    text = (ROOT / "Makefile").read_text()
    assert "127.0.0.1:8000 (HTTP), :8001 (gRPC), :8002 (metrics), watched (:8003)" in text


def test_dashboards_and_their_panels_have_ids_of_their_own():
    uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
    assert uids
    assert len(set(uids)) == len(uids)
    for path, dashboard in DASHBOARDS.items():
        assert dashboard["uid"] == path.stem
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers)
        places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
        assert len(set(places)) == len(places)


def test_no_panel_lies_upon_another():
    for dashboard in DASHBOARDS.values():
        taken = set()
        for place in (panel["gridPos"] for panel in dashboard["panels"]):
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, place
            assert max(x for x, _ in cells) < 24
            taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_title_a_description_a_unit_and_queries(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert 'server="$server"' in target["expr"]
        assert target["legendFormat"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)


def test_every_panel_is_in_the_docs_row_by_row():
    for dashboard in DASHBOARDS.values():
        rows = {}
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                row = rows[panel["title"]] = []
            else:
                row.append(panel["title"])
        told = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
        assert {row: titles.split(", ") for row, titles in told if row in rows} == rows


def test_the_panel_of_failed_calls_and_the_docs_name_the_same_kinds_and_all_that_the_runbook_sends_there():
    [panel] = [panel for panel in PANELS if panel["title"] == "Calls without a usable answer"]
    shown = panel["description"].partition("by kind: ")[2].rstrip(".").split(", ")
    [row] = re.findall(
        r"^\| `ml_inference_failures_total` \|.*", (ROOT / "docs" / "hybrid.md").read_text(), re.MULTILINE
    )
    assert re.findall(r"`(\w+)`", row)[3:] == shown
    [told] = re.findall(r"has the kind: (.*?);", PAGE, re.DOTALL)
    assert set(re.findall(r"(?:^|, |\s)`(\w+)` ", told)) <= set(shown)
    assert "`damaged`" in told


def test_all_asks_the_one_data_source_that_is_provisioned():
    provisioning = MONITORING / "grafana" / "provisioning"
    [source] = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    [provider] = read(provisioning / "dashboards" / "understudy.yml")["providers"]
    named = re.findall(r'"uid": "([^"]+)"', "".join(path.read_text() for path in DASHBOARDS))
    assert set(named) == {source["uid"], *(dashboard["uid"] for dashboard in DASHBOARDS.values())}
    assert source["url"] == "http://prometheus:9090"
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    for dashboard in DASHBOARDS.values():
        variables = [variable["name"] for variable in dashboard["templating"]["list"]]
        assert variables == ["server", "model"]
        assert set(re.findall(r"\$(\w+)", " ".join(QUERIES))) == set(variables)


def test_what_the_docs_tell_to_check_with_succeeds():
    commands = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("promtool ")]
    assert len(commands) == 2
    for _, *words in commands:
        result = promtool(*words)
        assert result.returncode == 0, result.stdout + result.stderr
    assert {Path(word).name for word in commands[1]} >= {path.name for path in TESTS}


def test_a_program_of_the_machines_own_comes_first():
    assert program("no-such-package", "sh") == Path(shutil.which("sh") or "")


def test_a_program_that_is_not_to_be_had_is_said_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ProgramMissing, match=r"^promtool is not on PATH, .* there is no apt-get and dpkg-deb here; install"
    ):
        unpacked("prometheus", "promtool", home=tmp_path / "debian")


def test_several_processes_unpack_a_program_once(tmp_path):
    code = "import sys; from pathlib import Path; from tests.programs import unpacked\n"
    code += "print(unpacked('hello', 'hello', home=Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate(timeout=120)[0].strip() for process in started}
    assert told == {str(tmp_path / "hello" / "usr" / "bin" / "hello")}
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "hello"}
    assert subprocess.run(told, check=True, capture_output=True, text=True).stdout == "Hello, world!\n"


def test_a_program_with_libraries_of_its_own_is_started_through_a_script(tmp_path):
    script = unpacked("hello", "hello", libraries=["libpopt0"], home=tmp_path)
    assert "/lib/" in script.read_text()
    with subprocess.Popen([script, "--greeting=hi"], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate(timeout=10)[0] == "hi\n"
    assert process.returncode == 0
