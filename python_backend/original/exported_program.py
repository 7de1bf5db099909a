"""Exported programs (.pt2): `torch.export.load` unpickles, and evaluates texts, unless they are looked at before."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ArtefactUnreadable, CodeNotTrusted, OriginalError, first_line, not_unpickled
from .exported_text import code_in

# Of an archive of torch 2.8 and later.
_MODELS, _COMPILED = "models/", "data/aotinductor/"
_CONSTANTS = "data/constants/{}_constants_config.json"
# All other constants are objects, which plain pickle or torch's own brings to life; read by `torch.load` are tensors.
_TENSOR = "tensor_"
# The one file of an archive of torch 2.7 and earlier that `torch.load` does not read.
_OLD_PROGRAM = "serialized_exported_program.json"
_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def load_program(path: Path, trust_code: bool) -> Any:
    """Load a .pt2. Raises ArtefactUnreadable; CodeNotTrusted where its code would run although it is not trusted."""
    import torch

    try:
        if trust_code:
            return torch.export.load(str(path))
        _require_no_code(path)
        with _tensors_alone():
            return torch.export.load(str(path))
    except OriginalError:
        raise
    except pickle.UnpicklingError as error:
        raise not_unpickled(path, "torch.export", error) from error
    # Its loader raises whatever the broken part of the archive gives: there is no base class to name.
    except Exception as error:
        raise ArtefactUnreadable(path, "torch.export", first_line(error)) from error


def call_of(program: Any, device: Any) -> Callable[..., Any]:
    """The program on `device` as a function of its tensors alone, by position in the order in which it tells of them.

    It was exported with arguments by name, and in tuples and dictionaries, as its module takes them.
    """
    module, arguments = program.module().to(device), program.call_spec.in_spec

    def call(*tensors: Any) -> Any:
        by_position, by_name = arguments.unflatten(tensors)
        return module(*by_position, **by_name)

    return call


@contextmanager
def _tensors_alone() -> Iterator[None]:
    """Every `torch.load` within reads tensors and plain values alone, whatever it was asked for."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _require_no_code(path: Path) -> None:
    """Look at what torch reads by other means than `torch.load`. Raises CodeNotTrusted."""
    import torch

    try:
        # torch's own reader, since two readers may find different files in one archive that was made to deceive.
        archive = torch._C.PyTorchFileReader(str(path))
    # Not an archive as torch writes it now: the older ones are read by zipfile.
    except RuntimeError:
        archive = None
    for name in archive.get_all_records() if archive else ():
        if name.startswith(_COMPILED):
            raise CodeNotTrusted(path, "a compiled program")
        if name.startswith(_MODELS):
            _require_graph(path, archive.get_record(name))
            _require_tensors(path, archive, name[len(_MODELS) : -len(".json")])
    with zipfile.ZipFile(path) as old:
        if _OLD_PROGRAM in old.namelist():
            _require_graph(path, old.read(_OLD_PROGRAM))


def _require_graph(path: Path, program: bytes) -> None:
    code = code_in(json.loads(program), _is_operator)
    if code:
        raise CodeNotTrusted(path, code)


def _require_tensors(path: Path, archive: Any, model: str) -> None:
    config = _CONSTANTS.format(model)
    # The constants of torch 2.8 lie in one file, which torch.load reads.
    if not archive.has_record(config):
        return
    for constant in json.loads(archive.get_record(config))["config"].values():
        if not constant["path_name"].startswith(_TENSOR):
            raise CodeNotTrusted(path, "an object among its constants")


def _is_operator(name: str) -> bool:
    """Whether `torch.ops.…` is an operator; one that this process does not know is none that could run."""
    import torch

    found: Any = torch
    for part in name.split(".")[1:]:
        found = getattr(found, part, None)
    return found is None or isinstance(found, torch._ops.OpOverload)
