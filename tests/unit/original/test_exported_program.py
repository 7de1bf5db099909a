"""An exported program loads where its code is trusted; without, only where it has none, whatever wrote the archive."""

import json

import pytest

# Each archive is the good one with a few files replaced. What would run leaves a file beside it.
SCRIPT = """
import io, json, os, pickle, sys, zipfile
from pathlib import Path
import torch
from torch._export.serde import serialize
from python_backend.original.bundle import Bundle
from python_backend.original.loading import Device, load

home = Path(sys.argv[1])
RAN = home / "ran"

class Evil:
    def __reduce__(self):
        return os.system, (f"touch {RAN}",)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("kept", torch.ones(3))
        self.register_buffer("left", torch.ones(3), persistent=False)
        self.constant = torch.ones(3)

    def forward(self, x):
        with torch.no_grad():
            y = self.layer(x) + self.kept * self.left
        return y.reshape(x.shape[0] // 2, -1) * self.constant.sum() * x.shape[0]

net = Net().eval()
program = torch.export.export(net, (torch.ones(8, 4),), dynamic_shapes={"x": {0: torch.export.Dim.AUTO}})
torch.export.save(program, home / "good.pt2")
with zipfile.ZipFile(home / "good.pt2") as archive:
    good = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
GRAPH, INPUTS = "models/model.json", "data/sample_inputs/model.pt"
CONSTANTS, WEIGHTS = "data/constants/model_constants_config.json", "data/weights/model_weights_config.json"

def saved(value):
    torch.save(value, buffer := io.BytesIO())
    return buffer.getvalue()

def with_guard():
    graph = json.loads(good[GRAPH])
    graph["guards_code"].append(f"__import__('os').system('touch {RAN}') == 0")
    return json.dumps(graph).encode()

def described(config, path):
    facts = json.loads(good[config])
    facts["config"]["more"] = {"path_name": path, "is_param": False, "use_pickle": True, "tensor_meta": None}
    return json.dumps(facts).encode()

old = serialize.serialize(program)
OLD = {
    "version": b"8.1",
    "serialized_exported_program.json": old.exported_program,
    "serialized_state_dict.pt": old.state_dict,
    "serialized_constants.pt": old.constants,
    "serialized_example_inputs.pt": old.example_inputs,
}
PICKLE, EVIL = pickle.dumps(Evil()), saved(Evil())
ARCHIVES = {
    "good": good,
    "old": OLD,
    "sample inputs": good | {INPUTS: EVIL},
    "opaque constant": good | {CONSTANTS: described(CONSTANTS, "opaque_obj_0"), "data/constants/opaque_obj_0": PICKLE},
    "custom constant": good | {CONSTANTS: described(CONSTANTS, "custom_obj_0"), "data/constants/custom_obj_0": PICKLE},
    "pickled constant": good | {CONSTANTS: described(CONSTANTS, "tensor_9"), "data/constants/tensor_9": EVIL},
    "pickled weight": good | {WEIGHTS: described(WEIGHTS, "weight_9"), "data/weights/weight_9": EVIL},
    "weights of 2.8": good | {"data/weights/model.pt": EVIL},
    "guard": good | {GRAPH: with_guard()},
    "compiled": good | {"data/aotinductor/model/model.so": b"code"},
    "old inputs": OLD | {"serialized_example_inputs.pt": EVIL},
    "old guard": OLD | {"serialized_exported_program.json": with_guard()},
    "no archive": None,
}
def outcome(path, trust_code):
    RAN.unlink(missing_ok=True)
    Bundle(format="exported_program", path=path, trust_code=trust_code).write(home)
    try:
        model = load(home, Device(1))
        x = torch.rand(6, 4)
        same = torch.equal(torch.from_numpy(next(iter(model.run({"x": x.numpy()}).values()))), net(x).detach())
        return "right" if same else "wrong"
    except Exception as error:
        return f"{type(error).__name__}: {error}"

told = {}
for name, files in ARCHIVES.items():
    with zipfile.ZipFile(home / "source" / f"{name}.pt2", "w") as archive:
        for path, data in (files or {}).items():
            archive.writestr(path if files is OLD or name.startswith("old") else f"net/{path}", data)
    if files is None:
        (home / "source" / f"{name}.pt2").write_text("no archive")
    told[name] = [outcome(f"{name}.pt2", False), RAN.exists()]
trusted = outcome("sample inputs.pt2", True)
told["trusted"] = [trusted, RAN.exists()]
told["forced"] = [os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), False]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory, run_script_at):
    done = run_script_at(tmp_path_factory.mktemp("programs"), SCRIPT, "unused.py", "")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("archive", ["good", "old"])
def test_a_program_without_code_loads_with_buffers_constants_and_dynamic_shapes(told, archive):
    assert told[archive] == ["right", False]


@pytest.mark.parametrize(
    ("archive", "what"),
    [
        ("sample inputs", "a pickle of Python objects"),
        ("opaque constant", "an object among its constants"),
        ("custom constant", "an object among its constants"),
        ("pickled constant", "a pickle of Python objects"),
        ("pickled weight", "a pickle of Python objects"),
        ("weights of 2.8", "a pickle of Python objects"),
        ("guard", "a guard, "),
        ("compiled", "a compiled program"),
        ("old inputs", "a pickle of Python objects"),
        ("old guard", "a guard, "),
    ],
)
def test_code_is_refused_before_it_runs(told, archive, what):
    sentence, ran = told[archive]
    assert sentence.startswith("CodeNotTrusted: ")
    assert f"holds code ({what}" in sentence
    assert not ran


def test_what_is_no_program_is_told_as_that(told):
    assert told["no archive"][0].startswith("ArtefactUnreadable: torch.export cannot read ")


def test_code_that_is_trusted_runs_and_nothing_stays_forced(told):
    assert told["trusted"][1]
    assert told["forced"][0] is None
