import json
import subprocess
import sys

import understudy_client

HEAVY = ("tritonclient", "grpc", "gevent", "geventhttpclient", "aiohttp", "tensorflow", "torch", "keras", "onnxruntime")


def _loaded_after(statement: str) -> set[str]:
    program = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_public_names_are_sorted_and_there() -> None:
    assert understudy_client.__all__ == sorted(set(understudy_client.__all__))
    for name in understudy_client.__all__:
        assert getattr(understudy_client, name).__doc__


def test_importing_the_package_loads_no_framework_and_no_transport() -> None:
    assert not _loaded_after("import understudy_client, understudy_client.__main__") & set(HEAVY)


def test_a_protocol_loads_when_it_is_chosen_and_no_other() -> None:
    loaded = _loaded_after("import understudy_client; understudy_client.HybridClient(protocol='grpc').close()")
    assert "grpc" in loaded
    assert not loaded & {"gevent", "aiohttp", "torch", "tensorflow"}
