"""TensorFlow SavedModel: one signature, as TensorFlow Serving would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bundle import Bundle, source_file
from .errors import ArtefactUnreadable, SignatureMissing, first_line
from .loading import Device
from .tensorflow_runtime import TensorFlowModel, input_tensor, prepare, tensor


def load(bundle: Bundle, directory: Path, device: Device) -> TensorFlowModel:
    """Load the bundle's signature. Raises ArtefactUnreadable, SignatureMissing, RankUnknown."""
    tf = prepare(device)
    path = source_file(directory, bundle.path or "")
    # SavedModels of Keras 2 name optimizer classes that only legacy Keras registers (seen: "no attribute 'add_slot'").
    import tf_keras  # noqa: F401

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        raise ArtefactUnreadable(path, "TensorFlow", first_line(error)) from error
    if bundle.signature not in loaded.signatures:
        raise SignatureMissing(path, bundle.signature, loaded.signatures)
    signature = loaded.signatures[bundle.signature]
    specs = signature.structured_input_signature[1]
    names = [t.name for t in bundle.inputs] or sorted(specs)
    results = signature.structured_outputs
    inputs = bundle.inputs or tuple(input_tensor(name, specs[name]) for name in names)
    outputs = bundle.outputs or tuple(tensor(name, spec) for name, spec in sorted(results.items()))
    # Names stand in alphabetical order (TensorFlow's own order changes from run to run), renamed ones too.
    order = [t.name if t.name in results else own for t, own in zip(outputs, sorted(results), strict=True)]

    def call(*values: Any) -> list[Any]:
        answers = signature(**dict(zip(names, values, strict=True)))
        return [answers[name] for name in order]

    # The loaded object owns the variables; a signature alone would let them be collected.
    return TensorFlowModel(tf, loaded, call, inputs, outputs)
