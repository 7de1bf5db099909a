"""Is what model.toml says possible? Types and keys are checked by then; here values are held against each other."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ..dtypes import DTYPES
from ..errors import KeyMissing, UnsupportedDtype, WrongValue
from ..profiles import PROFILES
from ..targets import TARGETS, known_targets
from . import EXPORTERS, LEVELS, PRECISIONS, TWINS, ModelSpec, SourceSpec
from .preference import batch_range
from .sampling import check_samples
from .serving import ACCELERATORS, GPU_PRECISIONS

__all__ = ["check"]

_LOWEST_OPSET = 13
# The keys of [source] that one format alone reads.
_READ_BY = {
    "factory": "torch_module",
    "arguments": "torch_module",
    "weights": "torch_module",
    "signature": "saved_model",
}
# The keys of [serving.gpu] that only TensorRT reads.
_TENSORRTS = ("precision", "workspace_bytes", "engine_cache")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
# Folders, logs and journals are called after it, with more before and behind it: file systems take 255 bytes.
_LONGEST_NAME = 200


def check(spec: ModelSpec, path: Path) -> None:
    """Raise a subclass of SpecError, or UnsupportedDtype, for the first value that makes no sense."""
    choices = {
        "source.format": (spec.source.format, EXPORTERS),
        "export.exporter": (spec.export.exporter, ("auto", *EXPORTERS.get(spec.source.format, ()))),
        "search.level": (spec.search.level, LEVELS),
        "search.profile": (spec.search.profile, PROFILES),
        "search.objective": (spec.search.objective, ("geometric_mean", "worst")),
        "serving.gpu.accelerator": (spec.serving.gpu.accelerator, ACCELERATORS),
        "serving.gpu.precision": (spec.serving.gpu.precision, GPU_PRECISIONS),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise WrongValue(path, key, f"one of {', '.join(allowed)}", value)
    if not _NAME.fullmatch(spec.name):
        raise WrongValue(path, "name", "letters, digits, '_', '-' and '.', starting with a letter", spec.name)
    if len(spec.name) > _LONGEST_NAME:
        expected = f"at most {_LONGEST_NAME} characters, the folder's name where it is not given"
        raise WrongValue(path, "name", expected, spec.name)
    for suffix in ("_onnx", "_original"):
        if spec.name.endswith(suffix):
            raise WrongValue(path, "name", f"a name that does not end with {suffix} (that is a twin's)", spec.name)
    _check_source(spec, path)
    _check_target(spec, path)
    _check_numbers(spec, path)
    _check_search(spec, path)
    _check_accuracy(spec, path)
    _check_prefer(spec, path)
    _check_gpu(spec, path)
    for key, folder in (
        ("serving.gpu.engine_cache", spec.serving.gpu.engine_cache),
        ("serving.shadow.folder", spec.serving.shadow.folder),
    ):
        if folder and not PurePosixPath(folder).is_absolute():
            raise WrongValue(path, key, "an absolute path on the server, or left out", folder)
    _check_inputs(spec, path)
    check_samples(spec, path)
    _check_outputs(spec, path)


def _check_source(spec: ModelSpec, path: Path) -> None:
    source = spec.source
    if source.format == "torch_module":
        if not re.fullmatch(r"([^:]+\.py|[\w./-]+):[\w.]+", source.factory):
            raise WrongValue(path, "source.factory", "'file.py:callable' or 'package.module:callable'", source.factory)
        if source.path:
            raise WrongValue(path, "source.path", "left out where a factory builds the model", source.path)
    elif not source.path:
        raise KeyMissing(path, "source.path", f"a model of format {source.format} is a file or folder")
    for key, reader in _READ_BY.items():
        value = getattr(source, key)
        if source.format != reader and value != getattr(SourceSpec(), key):
            expected = f"left out for format {source.format}: only {reader} reads it"
            raise WrongValue(path, f"source.{key}", expected, value)
    if source.format in ("torch_module", "torchscript") and not spec.inputs:
        raise KeyMissing(
            path, "inputs", f"a {source.format} does not tell its inputs; give [[inputs]] with name, dtype and shape"
        )


def _check_target(spec: ModelSpec, path: Path) -> None:
    target = TARGETS.get(spec.target)
    if target is None:
        raise WrongValue(path, "target", known_targets(spec.target), spec.target)
    if not _LOWEST_OPSET <= spec.export.opset <= target.runtime.opset:
        expected = f"between {_LOWEST_OPSET} and {target.runtime.opset}, the highest that {target} reads"
        raise WrongValue(path, "export.opset", expected, spec.export.opset)


def _check_numbers(spec: ModelSpec, path: Path) -> None:
    serving, parity = spec.serving, spec.parity
    bounds: dict[str, tuple[float, float, float]] = {
        "serving.max_batch_size": (serving.max_batch_size, 0, 1 << 16),
        "serving.max_queue_delay_microseconds": (serving.max_queue_delay_microseconds or 0, 0, 10_000_000),
        "serving.max_joined_rows": (serving.max_joined_rows, 0, 1 << 16),
        "serving.deadline_ms": (serving.deadline_ms, 1, 3_600_000),
        "serving.primary_budget_ms": (serving.primary_budget_ms, 0, serving.deadline_ms),
        "serving.max_fallbacks": (serving.max_fallbacks, 0, serving.max_concurrency),
        "serving.tuned.instances": (serving.tuned.instances, 0, 1024),
        "serving.tuned.threads": (serving.tuned.threads, 1, 1024),
        "serving.tuned.max_joined_rows": (serving.tuned.max_joined_rows, 0, 1 << 16),
        "serving.tuned.max_queue_delay_microseconds": (serving.tuned.max_queue_delay_microseconds, 0, 1e9),
        "serving.gpu.workspace_bytes": (serving.gpu.workspace_bytes, 1, 1e12),
        "serving.max_pending": (serving.max_pending, 1, 1 << 16),
        "serving.max_pending_mb": (serving.max_pending_mb, 1, 1 << 20),
        "serving.shadow.share": (serving.shadow.share, 0, 1),
        "serving.shadow.max_differing": (serving.shadow.max_differing, 0, 1),
        "serving.shadow.keep": (serving.shadow.keep, 0, 1024),
        **{
            f"{key}.{part}": (getattr(tolerance, part), 0, float("inf"))
            for key, tolerance in (("parity", parity), ("parity.int8", parity.int8), ("parity.fp16", parity.fp16))
            for part in ("atol", "rtol", "of_largest")
        },
        "samples.seed": (spec.samples.seed, 0, 2**63),
        "accuracy.items": (spec.accuracy.items, 1, 1_000_000),
        "accuracy.max_loss": (spec.accuracy.max_loss, 0, 1),
        "search.budget_s": (spec.search.budget_s, 1, 86_400),
    }
    for key in ("instances", "threads", "original_instances", "original_threads", "max_concurrency"):
        if (count := getattr(serving, key)) is not None:
            bounds[f"serving.{key}"] = (count, 1, 1024)
    if serving.hybrid_instances is not None:
        bounds["serving.hybrid_instances"] = (serving.hybrid_instances, 1, 64)
    for key, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise WrongValue(path, key, f"between {low:g} and {high:g}", value)
    if serving.max_joined_rows > serving.most_rows:
        expected = f"at most max_batch_size {serving.max_batch_size}, as the twins refuse a call of more rows"
        raise WrongValue(path, "serving.max_joined_rows", expected, serving.max_joined_rows)
    for size in parity.batch_sizes:
        if not 1 <= size <= serving.most_rows:
            raise WrongValue(
                path, "parity.batch_sizes", f"sizes from 1 to max_batch_size {serving.max_batch_size}", size
            )


def _check_inputs(spec: ModelSpec, path: Path) -> None:
    names = [t.name for t in spec.inputs] + [t.name for t in spec.outputs]
    for name in names:
        if names.count(name) > 1:
            raise WrongValue(path, "inputs and outputs", "names that differ", name)
    for number, tensor in enumerate(spec.inputs):
        key = f"inputs[{number}]"
        if tensor.dtype and tensor.dtype not in DTYPES:
            raise UnsupportedDtype(tensor.name, tensor.dtype, DTYPES)
        if spec.source.format in ("torch_module", "torchscript"):
            untold = f"a {spec.source.format} does not tell it"
            _require(tensor.dtype, path, f"{key}.dtype", untold)
            _require(tensor.shape, path, f"{key}.shape", f"{untold} ([] is no shape that can be sent)")
        if spec.serving.max_batch_size and tensor.shape and tensor.shape[0] != "batch":
            raise WrongValue(
                path, f"{key}.shape", 'a list that starts with "batch" (or max_batch_size = 0)', list(tensor.shape)
            )
        for size in tensor.shape:
            if isinstance(size, int) and size < 1:
                raise WrongValue(path, f"{key}.shape", "sizes of at least 1, or a name for a dynamic one", size)


def _require(value: object, path: Path, key: str, why: str) -> None:
    if not value:
        raise KeyMissing(path, key, why)


def _check_outputs(spec: ModelSpec, path: Path) -> None:
    for number, tensor in enumerate(spec.outputs):
        if tensor.range is None:
            continue
        low, high = tensor.range
        if not low < high or (math.isinf(low) and math.isinf(high)):
            expected = "[low, high] with low < high, one of them finite"
            raise WrongValue(path, f"outputs[{number}].range", expected, [low, high])


def _check_search(spec: ModelSpec, path: Path) -> None:
    if not spec.search.batch_sizes:
        raise WrongValue(path, "search.batch_sizes", "a list of at least one batch size", [])
    sizes = {
        "search.batch_sizes": ("sizes of at least 1", spec.search.batch_sizes),
        "search.microbatches": ("pieces of at least 1 row", spec.search.microbatches),
    }
    for key, (expected, values) in sizes.items():
        if min(values, default=1) < 1:
            raise WrongValue(path, key, expected, min(values))
    known = dict.fromkeys(precision for precisions in PRECISIONS.values() for precision in precisions)
    for precision in spec.search.precisions:
        if precision not in known:
            raise WrongValue(path, "search.precisions", f"a list out of {', '.join(known)}", precision)
    if "fp32" not in spec.precisions:
        raise WrongValue(
            path, "search.precisions", "a list with fp32, from which the others are made", list(spec.search.precisions)
        )


def _check_accuracy(spec: ModelSpec, path: Path) -> None:
    if spec.accuracy.file and spec.accuracy.generator:
        raise WrongValue(path, "accuracy.generator", "left out where accuracy.file is given", spec.accuracy.generator)
    if not spec.serving.max_batch_size and spec.accuracy.stated:
        raise WrongValue(path, "accuracy", "left out for a model without rows (max_batch_size = 0)", "a table")
    metric = spec.accuracy.metric
    if metric not in ("", "agreement", "top1") and ":" not in metric:
        raise WrongValue(path, "accuracy.metric", "top1, agreement or 'file.py:callable'", metric)


def _check_prefer(spec: ModelSpec, path: Path) -> None:
    prefer = spec.serving.prefer
    if isinstance(prefer, str):
        if prefer not in ("auto", *TWINS):
            raise WrongValue(path, "serving.prefer", f"auto, {' or '.join(TWINS)}, or a table of batch sizes", prefer)
        return
    for sizes, twin in prefer.items():
        if not batch_range(sizes):
            raise WrongValue(path, "serving.prefer", 'batch sizes such as "1", "2-8" or "9-"', sizes)
        if twin not in TWINS:
            raise WrongValue(path, f"serving.prefer.{sizes}", f"one of {', '.join(TWINS)}", twin)
    ordered = sorted(prefer, key=lambda sizes: batch_range(sizes).start)
    for sizes, following in pairwise(ordered):
        if batch_range(following).start < batch_range(sizes).stop:
            raise WrongValue(
                path, "serving.prefer", "a table of batch sizes that do not overlap", f"{sizes} and {following}"
            )


def _check_gpu(spec: ModelSpec, path: Path) -> None:
    gpu = spec.serving.gpu
    if spec.search.profile == "gpu" and gpu.accelerator != "cuda":
        expected = 'left out or "cuda" where the search runs on a GPU: what TensorRT makes of a graph is its own'
        raise WrongValue(path, "serving.gpu.accelerator", expected, gpu.accelerator)
    if gpu.accelerator != "tensorrt":
        for field in fields(gpu):
            if field.name in _TENSORRTS and (value := getattr(gpu, field.name)) != field.default:
                expected = 'left out unless serving.gpu.accelerator = "tensorrt", whose setting it is'
                raise WrongValue(path, f"serving.gpu.{field.name}", expected, value)
