"""What tritonserver is started with."""

from pathlib import Path

from serving.command import server_arguments, server_environment
from serving.locate import Installation, PythonRuntime

INSTALLATION = Installation(
    Path("/t/bin/tritonserver"), Path("/t/backends"), Path("/t/caches"), (Path("/t/libs"),), Path("/t/stubs")
)
PYTHON = PythonRuntime("3.11", Path("/venv/bin"), Path("/py/lib/libpython3.11.so.1.0"))


def arguments(**changes) -> list[str]:
    given = {
        "repository": Path("/models"),
        "backends": Path("/run/backends"),
        "ports": {"http": 1, "grpc": 2, "metrics": 3},
        "drain_s": 30,
        "regions": (1 << 20, 2 << 20),
        "gpu": False,
    }
    return server_arguments(INSTALLATION, **{**given, **changes})


def test_every_service_listens_on_loopback() -> None:
    assert [one for one in arguments() if "-address=" in one] == [
        f"--{service}-address=127.0.0.1" for service in ("http", "grpc", "metrics")
    ]


def test_models_are_loaded_on_request_and_the_loss_of_one_does_not_unready_the_server() -> None:
    assert {"--model-control-mode=explicit", "--strict-readiness=false"} <= set(arguments())


def test_shared_memory_and_gpu_metrics_follow_the_machine() -> None:
    assert "--backend-config=python,shm-default-byte-size=1048576" in arguments()
    assert "--backend-config=python,shm-growth-byte-size=2097152" in arguments()
    assert "--allow-gpu-metrics=false" in arguments()
    assert "--allow-gpu-metrics=true" in arguments(gpu=True)


def test_what_the_caller_adds_comes_last() -> None:
    assert arguments(extra=["--log-verbose=1"])[-1] == "--log-verbose=1"


def test_the_stub_finds_this_python_first() -> None:
    made = server_environment({"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/x"}, INSTALLATION, PYTHON, cores=2)
    assert made["PATH"] == "/venv/bin:/usr/bin"
    assert made["LD_LIBRARY_PATH"] == "/t/libs:/py/lib:/x"
    assert made["PYTHONDONTWRITEBYTECODE"] == "1"
    assert made["OMP_NUM_THREADS"] == "2"


def test_a_gpu_is_hidden_unless_somebody_says_which_may_be_seen() -> None:
    hidden = server_environment({}, INSTALLATION, PYTHON, cores=2, hide_gpu=True)
    assert hidden["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in server_environment({}, INSTALLATION, PYTHON, cores=2)
    asked = server_environment({"CUDA_VISIBLE_DEVICES": "1"}, INSTALLATION, PYTHON, cores=2, hide_gpu=True)
    assert asked["CUDA_VISIBLE_DEVICES"] == "1"


def test_no_empty_entry_puts_the_working_directory_on_a_path() -> None:
    made = server_environment({}, INSTALLATION, PYTHON, cores=2)
    assert made["PATH"] == "/venv/bin"
    assert made["LD_LIBRARY_PATH"] == "/t/libs:/py/lib"


def test_a_thread_count_that_is_set_stays_and_a_python_home_goes() -> None:
    given = {"OMP_NUM_THREADS": "7", "MALLOC_TRIM_THRESHOLD_": "1", "PYTHONHOME": "/elsewhere", "PYTHONPATH": "/mine"}
    made = server_environment(given, INSTALLATION, None, cores=2)
    assert (made["OMP_NUM_THREADS"], made["MALLOC_TRIM_THRESHOLD_"]) == ("7", "1")
    assert int(made["MALLOC_MMAP_THRESHOLD_"]) >= 1 << 20, "a request's tensor is not mapped anew each time"
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(made)
    assert given["PYTHONHOME"] == "/elsewhere", "the caller's own stays as it was"
