"""`ONNXConverter`: four verbs for a model file at hand, without a model.toml and without a repository."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .errors import Unsupported, WorkerDied
from .graphs.graph import describe, load_onnx, validate_file
from .graphs.rewrite import save
from .interface import BATCH
from .spec import InputSpec, ModelSpec, SearchSpec, SourceSpec
from .spec.reader import SUFFIXES
from .spec.serving import ServingSpec
from .worker import Task, run_worker

__all__ = ["ONNXConverter"]

Shapes = Sequence[int | str | None] | Mapping[str, Sequence[int | str | None]]


class ONNXConverter:
    """Converts one model file to one ONNX file, which is written only once it has been shown to match.

    `max_batch_size` is the largest batch that parity is shown at; 0 leaves the first dimension as it is.
    """

    def __init__(self, max_batch_size: int = 32) -> None:
        self.max_batch_size = max_batch_size

    def convert_tensorflow_model(
        self, model_path: str | Path, output_path: str | Path, input_shape: Shapes | None = None
    ) -> Path:
        """Convert a Keras file (.h5, .keras) or a SavedModel folder; gives the path of the ONNX file.

        The file tells its inputs. `input_shape` narrows dynamic dimensions: the shape with the batch as None, or one
        shape for each input by name. Raises a subclass of ConversionError; the output is then not written.
        """
        path = Path(model_path)
        source = SourceSpec(format=SUFFIXES.get(path.suffix.lower(), "saved_model"), path=path.name)
        return self._convert(path, source, Path(output_path), input_shape, told=True)

    def convert_pytorch_model(
        self, model_path: str | Path, output_path: str | Path, input_shape: Shapes | None = None
    ) -> Path:
        """Convert a TorchScript file (.pt) or an exported program (.pt2); gives the path of the ONNX file.

        `input_shape` is float32's shape with the batch as None or first, for example (None, 3, 224, 224), or one shape
        for each input by name; TorchScript needs it. Other dtypes and bare modules need a model.toml. Raises a subclass
        of ConversionError; the output is then not written.
        """
        path = Path(model_path)
        source = SourceSpec(format=SUFFIXES.get(path.suffix.lower(), "torchscript"), path=path.name)
        return self._convert(path, source, Path(output_path), input_shape, told=source.format == "exported_program")

    def validate_onnx_model(self, path: str | Path) -> bool:
        """True where the file passes ONNX's checker and ONNX Runtime loads it. Raises BrokenOnnx where it does not."""
        validate_file(Path(path))
        return True

    def get_model_info(self, path: str | Path) -> dict[str, Any]:
        """The facts of an ONNX file: inputs, outputs, opsets, operators, parameters, bytes. Raises BrokenOnnx."""
        return asdict(describe(load_onnx(Path(path)), Path(path)))

    def _convert(self, path: Path, source: SourceSpec, output: Path, shapes: Shapes | None, *, told: bool) -> Path:
        if not told and shapes is None:
            raise Unsupported(f"{path} does not tell its inputs; give input_shape, for example (None, 3, 224, 224)")
        spec = ModelSpec(
            name=path.stem,
            folder=path.parent.resolve(),
            source=source,
            inputs=() if shapes is None else self._inputs(shapes, told),
            serving=replace(ServingSpec(), max_batch_size=self.max_batch_size),
            # A file at hand is wanted soon, and nobody serves it from here.
            search=SearchSpec(level="off"),
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".conversion-") as scratch, _log(output) as log:
            work = Path(scratch)
            run_worker(Task("build", "build", spec), work / "build", log, lambda _step: None)
            # Saved again under its own name, because a sidecar's name is written into the graph.
            ready = work / "ready" / output.name
            ready.parent.mkdir()
            save(load_onnx(work / "build" / "onnx" / "model.onnx"), ready)
            for file in sorted(ready.parent.iterdir(), reverse=True):
                file.replace(output.with_name(file.name))
        return output

    def _inputs(self, shapes: Shapes, told: bool) -> tuple[InputSpec, ...]:
        by_name = dict(shapes) if isinstance(shapes, Mapping) else {"" if told else "input": shapes}
        return tuple(
            InputSpec(name, "" if told else "float32", self._shape(name, shape)) for name, shape in by_name.items()
        )

    def _shape(self, name: str, shape: Sequence[int | str | None]) -> tuple[int | str, ...]:
        batch = (BATCH, *shape[1:]) if self.max_batch_size else tuple(shape)
        return tuple(f"{name}_{axis}" if size is None else size for axis, size in enumerate(batch))


@contextmanager
def _log(output: Path) -> Iterator[Path]:
    """The log of a conversion, beside its output. It stays where the process died, whose error names it."""
    handle, name = tempfile.mkstemp(prefix=f"{output.name}-", suffix=".log", dir=output.parent)
    os.close(handle)
    log = Path(name)
    try:
        yield log
    except WorkerDied:
        raise
    except BaseException:
        log.unlink(missing_ok=True)
        raise
    log.unlink(missing_ok=True)
