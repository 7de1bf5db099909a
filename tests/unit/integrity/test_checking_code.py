"""The code that checks a release lies in the release: a bit that flips in it must not switch the check off."""

import importlib.util
import itertools
import json
import shutil
import sys
import types
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from python_backend.integrity import write_sums
from python_backend.original.bundle import Bundle

PACKAGES = Path(__file__).parents[3] / "python_backend"
CONFIG = {"name": "net", "max_batch_size": 0, "input": [], "output": [], "parameters": {}}
# In place of the frameworks: what is looked at here is whether it is reached.
LOADING = "OriginalModel = object\n\ndef Device(*_):\n    pass\n\ndef load(*_):\n    pass\n"
NUMBERS = itertools.count()


class Backend(types.ModuleType):
    """What the checks take from `triton_python_backend_utils`, and what comes after them."""

    class TritonModelException(Exception):
        pass

    class TritonError:
        UNAVAILABLE = INTERNAL = INVALID_ARG = 0

    class Logger:
        log_warn = log_error = print

    TRITONSERVER_MEMORY_CPU = 0

    def __init__(self, directory):
        super().__init__("triton_python_backend_utils")
        self.get_model_dir = lambda: str(directory)
        self.PreferredMemory = lambda *_: None


@pytest.fixture(params=["hybrid", "original"])
def directory(request, tmp_path, monkeypatch):
    """A published version directory of either package."""
    version = tmp_path / "net" / "1"
    shutil.copytree(PACKAGES / request.param, version, ignore=shutil.ignore_patterns("__pycache__"))
    if request.param == "original":
        (version / "loading.py").write_text(LOADING)
        Bundle(format="keras").write(version)
    (version / "config.pbtxt").write_text('name: "net"\n')
    write_sums(version)
    pin = "version_policy {\n  specific {\n    versions: 1\n  }\n}\n"
    (tmp_path / "net" / "config.pbtxt").write_text('name: "net"\n' + pin)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", Backend(version))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return version


def load(directory):
    """Import and load as Triton's stub does: both methods may be absent."""
    name = f"version_{next(NUMBERS)}"
    spec = importlib.util.spec_from_file_location(
        name, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with warnings.catch_warnings():
            # Python only warns of `5if`; that is no refusal.
            warnings.simplefilter("ignore", SyntaxWarning)
            model = importlib.import_module(f"{name}.model").TritonPythonModel
        if hasattr(model, "auto_complete_config"):
            model.auto_complete_config(types.SimpleNamespace(as_dict=lambda: CONFIG))
        instance = model()
        if hasattr(instance, "initialize"):
            arguments = {"model_repository": str(directory.parent), "model_version": "1", "model_instance_kind": "CPU"}
            instance.initialize({"model_config": json.dumps(CONFIG), "model_instance_device_id": "0", **arguments})
        if hasattr(instance, "finalize"):
            instance.finalize()
    finally:
        for module in [known for known in sys.modules if known.partition(".")[0] == name]:
            del sys.modules[module]


def test_what_is_intact_loads(directory):
    load(directory)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_bit_of_the_checking_code_lets_it_load(directory, data):
    path = directory / data.draw(st.sampled_from(["model.py", "integrity.py", "errors.py", "__init__.py"]))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    flipped = bytearray(content)
    flipped[position // 8] ^= 1 << position % 8
    path.write_bytes(flipped)
    try:
        # Whatever is raised, Triton refuses the model.
        with pytest.raises(Exception):  # noqa: B017, PT011
            load(directory)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("method", ["auto_complete_config", "initialize"])
def test_a_version_that_lost_one_of_the_two_looks_is_refused_by_the_other(directory, method):
    path = directory / "model.py"
    path.write_text(path.read_text().replace(f"def {method}(", f"def n{method}("))
    with pytest.raises(Exception, match=r"net/1 is not what was published: model\.py: expected SHA-256"):
        load(directory)
