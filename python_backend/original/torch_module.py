"""PyTorch: a module from a factory with its weights, a TorchScript file, or an exported program."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import SOURCE, Bundle, Tensor, source_file
from .errors import (
    ArtefactUnreadable,
    DtypeUnknown,
    FactoryFailed,
    RunFailed,
    WeightsMismatch,
    first_line,
    not_unpickled,
    run_failures,
)
from .exported_program import call_of, load_program
from .factory import find_callable
from .loading import Arrays, Device, name_outputs


class TorchModel:
    """A module run under `inference_mode`; arrays go in by position, in the order of the bundle's inputs."""

    def __init__(self, module: Any, bundle: Bundle, device: Device) -> None:
        import torch

        torch.set_num_threads(device.threads)
        if not device.tf32:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self._torch = torch
        self._device = torch.device("cpu" if device.gpu is None else f"cuda:{device.gpu}")
        self.inputs = bundle.inputs or _told(module, bundle)
        self.outputs = bundle.outputs
        self.native = module.to(self._device) if bundle.format != "exported_program" else module
        if bundle.format == "exported_program":
            self._call = call_of(module, self._device)
        else:
            # What eval gives back is what the module's own train gives, which may be nothing.
            self.native.eval()
            self._call = self.native

    def _array(self, name: str, value: Any) -> NDArray[Any]:
        if not isinstance(value, self._torch.Tensor):
            what = f"output '{name}' is of class {type(value).__name__}, not a tensor"
            raise RunFailed(f"{what}; return a tensor, or a tuple, list or dictionary of tensors")
        if value.dtype == self._torch.bfloat16:
            raise DtypeUnknown(name, "bfloat16")
        # A copy: a module may give memory of its own, which its next call writes over before this answer is sent.
        return np.asarray(value.resolve_conj().resolve_neg().to("cpu", copy=True).numpy())

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See OriginalModel.run."""
        torch = self._torch
        with run_failures(), torch.inference_mode():
            # A copy: a module may work in place on what it is given, and the arrays are the caller's.
            tensors = [torch.from_numpy(np.array(arrays[t.name], order="C")).to(self._device) for t in self.inputs]
            raw = name_outputs(self._call(*tensors), self.outputs)
            return {name: self._array(name, value) for name, value in raw.items()}


def _told(module: Any, bundle: Bundle) -> tuple[Tensor, ...]:
    """The inputs that an exported program tells of; a module and TorchScript tell of none. Raises ArtefactUnreadable.

    Where an argument is no tensor, its value stands in the place of a name.
    """
    signature = getattr(module, "graph_signature", None)
    if signature is None:
        return ()
    values = {node.name: node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"}
    for number, name in enumerate(signature.user_inputs, 1):
        if not hasattr(values.get(name), "shape"):
            cause = (
                f"argument {number} of the program is {name}, and only tensors can be sent; export a module that takes "
                "tensors alone"
            )
            raise ArtefactUnreadable(Path(bundle.path or ""), "Understudy", cause)
    return tuple(
        Tensor(
            name,
            str(values[name].dtype).removeprefix("torch."),
            tuple(size if isinstance(size, int) else None for size in values[name].shape),
        )
        for name in signature.user_inputs
    )


def load(bundle: Bundle, directory: Path, device: Device) -> TorchModel:
    """Load any of the three PyTorch formats onto `device`. Raises a subclass of OriginalError."""
    # Read once, when torch first takes memory. A net that gives back its tensors after each layer is twice as fast on
    # batches where 2 MB are mapped at a time, in place of 4 KB (PyTorch 2.2 and later; whoever says 0 has 0).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    read = {"torch_module": _from_factory, "torchscript": _torchscript, "exported_program": _exported_program}
    return TorchModel(read[bundle.format](bundle, directory), bundle, device)


def _torchscript(bundle: Bundle, directory: Path) -> Any:
    import torch

    path = source_file(directory, bundle.path or "")
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        cause = (
            "it is no TorchScript, but weights or a module that torch.save wrote; in [source] give a factory that "
            "builds the module, and its state dict as weights"
        )
        raise ArtefactUnreadable(path, "torch.jit", cause if _saved(path) else first_line(error)) from error


def _saved(path: Path) -> bool:
    """Whether torch.save wrote the archive: torch.jit.save writes constants beside the pickle."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    return "data.pkl" in names and "constants.pkl" not in names


def _exported_program(bundle: Bundle, directory: Path) -> Any:
    return load_program(source_file(directory, bundle.path or ""), bundle.trust_code)


def _from_factory(bundle: Bundle, directory: Path) -> Any:
    import torch

    factory = bundle.factory or ""
    build = find_callable(factory, directory / SOURCE)
    try:
        module = build(**bundle.arguments)
    # The factory is the user's code: whatever it raises is the news to pass on; a script may end the process.
    except (Exception, SystemExit) as error:
        raise FactoryFailed(factory, f"raised {first_line(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise FactoryFailed(factory, f"returned {type(module).__name__}, expected a torch.nn.Module")
    if bundle.weights:
        _fill(module, bundle, directory)
    return module


def _fill(module: Any, bundle: Bundle, directory: Path) -> None:
    files = [source_file(directory, relative) for relative in bundle.weights]
    state: dict[str, Any] = {}
    for path in files:
        state.update(_read_state(path, bundle.trust_code))
    # What torch.nn.DataParallel saves.
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    expected = module.state_dict()
    state |= _tied(state, expected)
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    shared = sorted(expected.keys() & state.keys())
    wrong = [f"{key} is {found}" for key in shared if (found := _misfit(state[key], expected[key]))]
    if missing or extra or wrong:
        groups = (("missing", missing), ("unexpected", extra), ("of another shape", wrong))
        told = "; ".join(f"{len(keys)} {what} ({keys[0]}{', …' if keys[1:] else ''})" for what, keys in groups if keys)
        raise WeightsMismatch(files, bundle.factory or "", told)
    try:
        module.load_state_dict(state)
    # A module may read what it saved by code of its own.
    except Exception as error:
        raise WeightsMismatch(files, bundle.factory or "", first_line(error)) from error


def _tied(state: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The values of names that share their tensor with one that is given: safetensors keeps one name of each."""
    import torch

    places = {
        key: (tensor.data_ptr(), tensor.shape, tensor.stride())
        for key, tensor in expected.items()
        if isinstance(tensor, torch.Tensor) and not torch.nn.parameter.is_lazy(tensor) and tensor.data_ptr()
    }
    given = {place: state[key] for key, place in places.items() if key in state}
    return {key: given[place] for key, place in places.items() if key not in state and place in given}


def _misfit(value: Any, expected: Any) -> str:
    """What is wrong with a value of a state dict; nothing where no shape is expected: extra state, lazy layers."""
    import torch

    if not isinstance(expected, torch.Tensor) or torch.nn.parameter.is_lazy(expected):
        return ""
    if isinstance(value, torch.Tensor) and value.shape == expected.shape:
        return ""
    found = list(value.shape) if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
    return f"{found}, expected {list(expected.shape)}"


def _read_state(path: Path, trust_code: bool) -> dict[str, Any]:
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=not trust_code)
    except pickle.UnpicklingError as error:
        raise not_unpickled(path, "torch", error) from error
    except Exception as error:
        raise ArtefactUnreadable(path, "torch", first_line(error)) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ArtefactUnreadable(path, "torch", f"it holds a {type(state).__name__}, expected a state dict")
    if odd := [key for key in state if not isinstance(key, str)]:
        raise ArtefactUnreadable(path, "torch", f"it holds a dict with names such as {odd[0]}, expected a state dict")
    return state
