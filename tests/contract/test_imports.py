"""Who may import whom: the table of docs/architecture.md, held to the syntax trees of the code."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("conversion", "python_backend", "serving", "understudy_client", "loadtests", "pages", "demo", "fastapi_app")
HOMES = {
    "understudy_client": ROOT / "client" / "understudy_client",
    "fastapi_app": ROOT / "client" / "examples" / "fastapi_app",
}
LEAVES = {
    "conversion.errors",
    "conversion.dtypes",
    "conversion.preflight.probe",
    "conversion.spec.serving",
    "conversion.spec",
}
# What comes before there is a candidate; it knows nothing of what is made of one.
FIRST_ROOMS = {f"conversion.{room}" for room in ("exporting", "graphs", "proof", "spec")}
# What a package (or the module named) may import of ours, beside its own modules.
ALLOWED = {
    "conversion": {
        "pages",
        "python_backend.integrity",
        "python_backend.original",
        "python_backend.strings",
        "python_backend.tolerance",
    },
    "conversion.commands.live_server": {
        "python_backend.integrity",
        "python_backend.limits",
        "python_backend.original",
        "serving",
    },
    "conversion.preflight.config_rules": {"python_backend.hybrid", "python_backend.onnxruntime"},
    "conversion.release.evidence": {"python_backend.limits"},
    "conversion.release.gpu_config": {"python_backend.onnxruntime"},
    "conversion.proof.parity": {"python_backend.onnxruntime", "python_backend.tolerance"},
    "serving": {"python_backend.limits"},
    "understudy_client": set(),
    "python_backend.hybrid": set(),
    "python_backend.original": set(),
    "python_backend.onnxruntime": set(),
    "python_backend.integrity": set(),
    "python_backend.limits": set(),
    "python_backend.strings": set(),
    "python_backend.tolerance": {"python_backend.strings"},
    "loadtests": {"pages", "python_backend.limits", "python_backend.tolerance", "serving", "understudy_client"},
    "fastapi_app": {"understudy_client"},
    "pages": set(),
    "demo": {"conversion", "python_backend.original", "serving", "understudy_client"},
}
HEAVY = ("tensorflow", "torch", "keras", "tf_keras", "onnxruntime", "tf2onnx", "onnxslim", "jax")


def modules():
    """Every module of ours: its dotted name and its path."""
    for name in OURS:
        home = HOMES.get(name, ROOT / name)
        for path in sorted(home.rglob("*.py")):
            inside = path.relative_to(home).with_suffix("").parts
            yield ".".join((name, *(part for part in inside if part != "__init__"))), path


@cache
def imports(module, path):
    """Every module that `path` imports, anywhere in it, as a dotted name, and whether at import time."""
    return tuple(read_imports(module, path))


def read_imports(module, path):
    tree = ast.parse(path.read_text())
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in late
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield ".".join([*base, node.module or ""]).strip("."), id(node) not in late


def home_of(module):
    """The package that a module belongs to, in the table's sense."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "python_backend" else parts[0]


def room_of(module):
    """The folder of `conversion` that a module lies in, or the module that lies in none."""
    return ".".join(module.split(".")[:2])


MODULES = dict(modules())
TABLE = [
    line.split("|")[1:3]
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines()
    if line.startswith("| `")
]


@pytest.mark.parametrize("importer", [importer for importer in ALLOWED if importer != "demo"])
def test_the_page_says_what_may_be_imported(importer):
    """A module's row adds to that of its package. Of the demo the page says that it may import all."""
    names = {f"`{importer}`", f"`{importer.split('.')[0]}.*`"}
    told = [what for who, what in TABLE if any(name in who for name in names)]
    assert [allowed for allowed in ALLOWED[importer] if not any(f"`{allowed}" in what for what in told)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_table_allows(module):
    home = home_of(module)
    allowed = ALLOWED.get(module, ALLOWED.get(home, set()))
    for imported, _ in imports(module, MODULES[module]):
        if imported.split(".")[0] in OURS and home_of(imported) != home:
            assert home_of(imported) in allowed, f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(LEAVES))
def test_the_leaves_import_nothing_of_ours_but_leaves(module):
    foreign = [i for i, _ in imports(module, MODULES[module]) if i.split(".")[0] in OURS]
    assert [i for i in foreign if not i.startswith(f"{module}.") and i not in LEAVES] == []


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) in FIRST_ROOMS])
def test_the_first_rooms_of_conversion_know_nothing_of_the_later_ones(module):
    folders = {f"conversion.{inside.parent.name}" for inside in ROOT.glob("conversion/*/__init__.py")}
    known = {room_of(i) for i, _ in imports(module, MODULES[module])} & folders
    assert known <= FIRST_ROOMS | {"conversion.errors"}


def test_only_the_entries_know_triton():
    knowing = {
        m
        for m in MODULES
        for i, _ in imports(m, MODULES[m])
        if i in ("triton_python_backend_utils", "c_python_backend_utils")
    }
    entries = {f"python_backend.{name}.model" for name in ("hybrid", "onnxruntime", "original")}
    assert knowing == entries | {"python_backend.hybrid.twins", "python_backend.hybrid.replies"}


def test_only_the_command_line_uses_the_pipeline():
    using = {m for m in MODULES for i, _ in imports(m, MODULES[m]) if i == "conversion.pipeline"}
    assert using == {"conversion.commands.convert"}


def test_load_tests_connect_in_one_place_which_passes_proxies_by():
    connecting = ("insecure_channel", "import InferenceServerClient\n", "import urllib.request")
    ours = {m: path.read_text() for m, path in MODULES.items() if home_of(m) == "loadtests"}
    assert [m for m, text in ours.items() if any(words in text for words in connecting)] == ["loadtests.direct"]


@pytest.mark.parametrize("module", MODULES)
def test_frameworks_load_late(module):
    early = {i.split(".")[0] for i, at_import in imports(module, MODULES[module]) if at_import}
    allowed = {"onnxruntime"} if home_of(module) == "python_backend.onnxruntime" else set()
    assert early & set(HEAVY) <= allowed


def test_the_hybrid_needs_the_standard_library_and_numpy_alone():
    foreign = {
        i.split(".")[0] for m in MODULES if home_of(m) == "python_backend.hybrid" for i, _ in imports(m, MODULES[m])
    } - sys.stdlib_module_names
    assert foreign <= {"numpy", "python_backend", "triton_python_backend_utils"}


def test_the_probe_needs_what_its_environments_hold_and_nothing_else():
    foreign = {i.split(".")[0] for i, _ in imports("conversion.preflight.probe", MODULES["conversion.preflight.probe"])}
    assert foreign - sys.stdlib_module_names == {"numpy", "onnxruntime"}


@pytest.mark.parametrize("package", ["conversion", "conversion.__main__", "serving", "understudy_client"])
def test_importing_loads_no_framework(package):
    program = f"import sys, {package}; print(*sorted({{n.split('.')[0] for n in sys.modules}} & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["conversion", "serving", "understudy_client"])
def test_public_names_are_sorted_and_there(package):
    program = (
        f"import {package} as p; assert p.__all__ == sorted(p.__all__); "
        "assert all(getattr(p, name) is not None for name in p.__all__)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_a_reader_bears(module):
    assert len(MODULES[module].read_text().splitlines()) <= 270
