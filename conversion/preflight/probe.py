"""Load one ONNX file in the ONNX Runtime of the Python that runs this, and run one batch: `probe.py FOLDER`.

Runs by itself, in an environment that holds onnxruntime and NumPy and nothing of ours. FOLDER/request.json says what to
do: `model`, the path of the file, and `inputs`, the names of the arrays in FOLDER/inputs.npz in their order (`input_0`,
`input_1`, …; strings as fixed-width bytes). Standard output gets one JSON object: `onnxruntime`; `inputs`,
`outputs` and `overridable` as that ONNX Runtime reports them (name, type, shape); and `ran`, the name, dtype and shape
of each output. The outputs themselves go to FOLDER/outputs.npz as `output_0`, `output_1`, … Where ONNX Runtime fails,
`error` says why, after what was learnt until then. Exit code 0 in both cases.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> int:
    """Answer FOLDER/request.json. Gives the exit code."""
    import onnxruntime

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {"onnxruntime": onnxruntime.__version__}
    try:
        session = _session(request["model"])
        facts["inputs"] = _facts(session.get_inputs())
        facts["outputs"] = _facts(session.get_outputs())
        facts["overridable"] = _facts(session.get_overridable_initializers())
        names = [output.name for output in session.get_outputs()]
        arrays = session.run(names, _inputs(folder, request["inputs"]))
    # ONNX Runtime's classes come from C++ and share no base but Exception.
    except Exception as error:  # noqa: BLE001
        facts["error"] = f"{type(error).__name__}: {error}"
    else:
        found = [_array(array) for array in arrays]
        np.savez(folder / "outputs.npz", **{f"output_{number}": array for number, array in enumerate(found)})
        facts["ran"] = [
            {"name": name, "dtype": _dtype(array), "shape": list(array.shape)}
            for name, array in zip(names, found, strict=True)
        ]
    sys.stdout.write(json.dumps(facts) + "\n")
    return 0


def _session(model: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Time does not matter here, and others may be at work on this machine.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _facts(nodes: Any) -> list[dict[str, Any]]:
    return [{"name": node.name, "type": node.type, "shape": list(node.shape)} for node in nodes]


def _inputs(folder: Path, names: list[str]) -> dict[str, Any]:
    with np.load(folder / "inputs.npz", allow_pickle=False) as archive:
        arrays = {name: archive[f"input_{number}"] for number, name in enumerate(names)}
    # ONNX Runtime takes strings as objects, and bytes objects for their own spelling.
    return {
        name: np.char.decode(array, "utf-8").astype(object) if array.dtype.kind == "S" else array
        for name, array in arrays.items()
    }


def _array(array: Any) -> Any:
    """An output as .npz keeps it without pickling: strings become fixed-width bytes."""
    array = np.asarray(array)
    return np.char.encode(array.astype(str), "utf-8") if array.dtype.kind in "OU" else array


def _dtype(array: Any) -> str:
    return "string" if array.dtype.kind == "S" else str(array.dtype.name)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
