"""Keras `.h5` and `.keras`: Keras 3 first, legacy Keras for files that only it reads."""

from __future__ import annotations

import importlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from .bundle import Bundle, Tensor, source_file
from .errors import ArtefactUnreadable, CodeNotTrusted, OriginalError, first_line
from .loading import Device
from .tensorflow_runtime import TensorFlowModel, prepare, tensor

# The package that reads the files of each. The second takes half a second to import, for files that most are not.
_GENERATIONS = {3: "keras", 2: "tf_keras"}
_OWN_CODE = (
    "; if layers or functions of it are your own, call model.export(folder) where their code is, and give that folder "
    "as path: it is a SavedModel"
)


def load(bundle: Bundle, directory: Path, device: Device) -> TensorFlowModel:
    """Load the file as a compiled function. Raises ArtefactUnreadable, CodeNotTrusted."""
    tf = prepare(device)
    path = source_file(directory, bundle.path or "")
    if not bundle.trust_code:
        refuse_lambdas(path)
    model = _read(path, bundle)
    inputs = bundle.inputs or _tensors(model.inputs, [spec.name for spec in model.inputs])
    outputs = bundle.outputs or _tensors(model.outputs, output_names(model))
    specs = [
        tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name=t.name)
        for t, spec in zip(inputs, model.inputs, strict=True)
    ]

    def call(*values: Any) -> list[Any]:
        return list(tf.nest.flatten(model(tf.nest.pack_sequence_as(model.input, list(values)), training=False)))

    # Keras' own `predict` costs tens of milliseconds a call; a function with a signature is what it advises to serve.
    return TensorFlowModel(tf, model, tf.function(call, input_signature=specs), inputs, outputs)


def keras_generation(path: Path) -> int:
    """Which Keras wrote the file, 2 or 3 (3 where it does not tell). Raises ArtefactUnreadable."""
    return 2 if str(_config(path)[0]).startswith(("1.", "2.")) else 3


def refuse_lambdas(path: Path) -> None:
    """Raise CodeNotTrusted where the file holds a Lambda layer: its Python byte code would run at load."""
    if '"class_name": "Lambda"' in json.dumps(_config(path)[1]):
        raise CodeNotTrusted(path, "a Lambda layer")


def output_names(model: Any) -> list[str]:
    """The names of a Keras model's outputs in `model.outputs`' order: a dictionary's keys, else layers' names.

    Both Keras and `tf.nest` flatten a dictionary in the order of its keys. Layers' names are made unique.
    """
    given = model.output
    if isinstance(given, Mapping) and not any(isinstance(value, Mapping | list | tuple) for value in given.values()):
        return sorted(given)
    names: list[str] = list(model.output_names)
    unique: list[str] = []
    for number, name in enumerate(names):
        # Another layer may have the name that a number makes.
        free = (one for one in map(f"{name}_{{}}".format, count(number)) if one not in {*names, *unique})
        unique.append(name if names.count(name) == 1 else next(free))
    return unique


def _read(path: Path, bundle: Bundle) -> Any:
    import keras

    order = [bundle.keras_generation] if bundle.keras_generation else [3, 2]
    failures: list[str] = []
    advice = _OWN_CODE
    for generation in order:
        try:
            with _in_small_letters(path) as readable:
                read = importlib.import_module(_GENERATIONS[generation]).models.load_model
                model = read(readable, compile=False, safe_mode=not bundle.trust_code)
        # Both raise ValueError, TypeError, KeyError, OSError and more for one broken file.
        except Exception as error:  # noqa: BLE001
            failures.append(f"Keras {generation}: {first_line(error)}")
            continue
        if not getattr(model, "inputs", None):
            advice = ""
            failures.append(
                f"Keras {generation}: the model was never built, so that its inputs are unknown; give it an Input, or "
                "call it once, before it is saved"
            )
            continue
        # A Sequential of Keras 3 tells its inputs and outputs, but not how they are nested and named.
        return model if hasattr(model, "output_names") else keras.Model(model.inputs, model.outputs)
    raise ArtefactUnreadable(path, "Keras", "; ".join(failures) + advice)


@contextmanager
def _in_small_letters(path: Path) -> Iterator[Path]:
    """The file under a name whose suffix is in small letters: Keras knows no others."""
    if path.suffix.islower():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, path.stem + path.suffix.lower())
        link.symlink_to(path.resolve())
        yield link


def _tensors(specs: Any, names: list[str]) -> tuple[Tensor, ...]:
    return tuple(tensor(name, spec) for name, spec in zip(names, specs, strict=True))


def _config(path: Path) -> tuple[str, Any]:
    """The version of Keras that wrote the file, and the model's configuration."""
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json")).get("keras_version", "3")
                return version, json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise ArtefactUnreadable(path, "Keras", "it holds weights alone; save the whole model")
            return str(file.attrs.get("keras_version", "3")), json.loads(text)
    except OriginalError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtefactUnreadable(path, "Keras", first_line(error)) from error
