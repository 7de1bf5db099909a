"""Files of PyTorch as torch itself writes them: weights that are odd and fit, and what does not fit in a sentence."""

HEAD = """
import sys
from pathlib import Path
import torch
from python_backend.original.bundle import Bundle, Tensor
from python_backend.original.errors import OriginalError
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])
X = (Tensor("x", "float32", (None, 4)),)

def tell(**facts):
    Bundle(**facts).write(directory)
    try:
        print(*load(directory, Device()).run({"x": torch.ones(1, 4).numpy()})["output"][0])
    except OriginalError as error:
        print(error)
"""
NETS = """
import sys
import torch

class Extra(torch.nn.Linear):
    def get_extra_state(self):
        return {"version": 1}
    def set_extra_state(self, state):
        if state["version"] > 1:
            raise KeyError("of a newer version")

def extra():
    return Extra(4, 2)

class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4, bias=False)
        self.last = torch.nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight
    def forward(self, x):
        return self.last(self.first(x))

def lazy():
    return torch.nn.LazyLinear(2)

def linear():
    return torch.nn.Linear(4, 2)

class Frozen(torch.nn.Linear):
    # Layers stay frozen whatever it is told, as users write it: `train` gives nothing back.
    def __init__(self):
        super().__init__(4, 2, bias=False)
        torch.nn.init.ones_(self.weight)
    def train(self, mode=True):
        super().train(mode)
        self.weight.requires_grad_(False)
    def forward(self, x):
        return super().forward(x) + self.training

class Versioned(torch.nn.Module):
    def forward(self, x):
        return {"output": x, "version": "v1"}

def leave():
    sys.exit("please set MODEL_HOME")
"""
WEIGHTS = """
state = {"weight": torch.ones(2, 4), "bias": torch.zeros(2)}

def fill(factory, state):
    torch.save(state, directory / "source" / "w.pth")
    tell(format="torch_module", factory=f"nets.py:{factory}", weights=("w.pth",), inputs=X)

fill("extra", state | {"_extra_state": {"version": 1}})
fill("lazy", state)
fill("Tied", {"first.weight": torch.eye(4) * 2})
fill("extra", state | {"_extra_state": {"version": 2}})
fill("linear", {name: values.tolist() for name, values in state.items()})
fill("linear", dict(enumerate(state.values())))
"""
PROGRAMS = """
class Scaled(torch.nn.Module):
    def forward(self, x, factor=None):
        return x * 2 if factor is None else x * factor

for factor in (None, 3):
    program = torch.export.export(Scaled(), (torch.ones(1, 4), factor))
    torch.export.save(program, directory / "source" / "net.pt2")
    tell(format="exported_program", path="net.pt2")
"""
ARGUMENTS = """
class Sum(torch.nn.Module):
    def forward(self, x, more=None, *, scale):
        return {"output": (x + (more["first"] - more["second"][0])) * scale}

ones = torch.ones(1, 4)
more = {"first": ones * 5, "second": (ones,)}
given = [((ones, more), {"scale": ones * 2}), ((ones,), {"scale": ones * 2, "more": more})]
for arguments, by_name in (*given, ((), {"scale": ones * 2, "more": more, "x": ones})):
    torch.export.save(torch.export.export(Sum(), arguments, by_name), directory / "source" / "net.pt2")
    Bundle(format="exported_program", path="net.pt2").write(directory)
    model = load(directory, Device())
    leaves = {"x": ones, "more_first": ones * 5, "more_second_0": ones, "scale": ones * 2}
    names = [tensor.name for tensor in model.inputs]
    print(*names, *model.run({name: leaves[name].numpy() for name in names})["output"][0])
"""
CAPITALS = """
from safetensors.torch import save_file
save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, directory / "source" / "W.SAFETENSORS")
tell(format="torch_module", factory="my nets.py:linear", weights=("W.SAFETENSORS",), inputs=X)
"""
NO_SCRIPT = """
module = torch.nn.Linear(4, 2)
for saved in (module.state_dict(), module):
    torch.save(saved, directory / "source" / "net.pt")
    tell(format="torchscript", path="net.pt", inputs=X)
(directory / "source" / "net.pt").write_bytes(b"no archive")
tell(format="torchscript", path="net.pt", inputs=X)
"""


def test_weights_are_loaded_where_they_fit_and_a_sentence_says_where_they_do_not(run_script):
    done = run_script(HEAD + WEIGHTS, "nets.py", NETS)
    *read, newer, lists, numbers = done.stdout.splitlines()
    misfit = "the weights in w.pth do not fit the module that 'nets.py:{}' builds: "
    assert read == ["4.0 4.0", "4.0 4.0", "4.0 4.0 4.0 4.0"], done.stderr
    assert newer == misfit.format("extra") + "KeyError: 'of a newer version'"
    assert lists == misfit.format("linear") + "2 of another shape (bias is a list, expected [2], …)"
    assert numbers.endswith("w.pth: it holds a dict with names such as 0, expected a state dict")


def test_names_with_capitals_and_spaces_are_read(run_script):
    assert run_script(HEAD + CAPITALS, "my nets.py", NETS).stdout == "4.0 4.0\n"


def test_an_argument_of_an_exported_program_that_is_no_tensor_is_named(run_script):
    done = run_script(HEAD + PROGRAMS, "nets.py", NETS)
    sentence = (
        "Understudy cannot read net.pt2: argument 2 of the program is {}, and only tensors can be sent; "
        "export a module that takes tensors alone"
    )
    assert done.stdout.splitlines() == [sentence.format("None"), sentence.format("3")], done.stderr


def test_an_exported_program_takes_arguments_by_name_and_in_dictionaries_as_it_was_exported(run_script):
    done = run_script(HEAD + ARGUMENTS, "nets.py", NETS)
    answer = " 10.0 10.0 10.0 10.0"
    more = "more_first more_second_0"
    orders = [f"x {more} scale", f"x scale {more}", f"scale {more} x"]
    assert done.stdout.splitlines() == [order + answer for order in orders], done.stderr


def test_a_module_whose_train_gives_nothing_back_is_run_and_not_in_training(run_script):
    done = run_script(HEAD + 'tell(format="torch_module", factory="nets.py:Frozen", inputs=X)', "nets.py", NETS)
    assert done.stdout == "4.0 4.0\n", done.stderr


def test_a_factory_that_ends_the_process_has_failed(run_script):
    script = HEAD + 'tell(format="torch_module", factory="nets.py:leave", inputs=X)'
    done = run_script(script, "nets.py", NETS)
    assert done.stdout == "factory 'nets.py:leave': raised SystemExit: please set MODEL_HOME\n", done.stderr


def test_weights_and_pickled_modules_are_no_torchscript_and_not_called_corrupted(run_script):
    done = run_script(HEAD + NO_SCRIPT, "nets.py", NETS)
    *saved, broken = done.stdout.splitlines()
    sentence = (
        "net.pt: it is no TorchScript, but weights or a module that torch.save wrote; in [source] give a factory that "
        "builds the module, and its state dict as weights"
    )
    assert [line.rpartition("/")[2] for line in saved] == [sentence, sentence], done.stderr
    assert "no TorchScript" not in broken


def test_an_output_that_is_no_tensor_is_named(run_script):
    script = HEAD + 'tell(format="torch_module", factory="nets.py:Versioned", inputs=X)'
    done = run_script(script, "nets.py", NETS)
    sentence = (
        "output 'version' is of class str, not a tensor; return a tensor, or a tuple, list or dictionary of tensors\n"
    )
    assert done.stdout == f"the original model failed: {sentence}", done.stderr
