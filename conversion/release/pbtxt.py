"""The three config.pbtxt of a release, built and read through Triton's own protobuf schema."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from ..arrangements.arrangement import Arrangement, default_arrangement
from ..dtypes import DTYPES
from ..errors import PublishError
from ..interface import SERVED_BY, Facts
from ..spec import ModelSpec
from ..spec.preference import as_parameter, preference
from ..spec.serving import ServingSpec
from . import gpu_config
from .gpu_config import Traits

__all__ = [
    "ROLES",
    "TWINS",
    "interface_difference",
    "layout_difference",
    "model_configs",
    "pinned",
    "read_config",
    "replace_file",
    "unfinished",
    "write_config",
]

# What each of the three models of a release is called: the suffix behind the public name. Twins before the hybrid.
ROLES = {"onnx": "_onnx", "original": "_original", "hybrid": ""}
TWINS = tuple(role for role in ROLES if role != "hybrid")
_UNKNOWN = Traits()
_UNMEASURED: Mapping[int, float] = MappingProxyType({})


def model_configs(
    spec: ModelSpec,
    inputs: Sequence[Facts],
    outputs: Sequence[Facts],
    ratios: Mapping[int, float] = _UNMEASURED,
    arrangement: Arrangement | None = None,
    *,
    traits: Traits = _UNKNOWN,
) -> dict[str, Any]:
    """A ModelConfig for each role. Versions are not pinned yet.

    `ratios`, by batch size, are those of `preference.at_best`, for `prefer = "auto"`. The twin is served in
    `arrangement`; None is the default one. `traits` are the twin's.
    """
    serving = spec.serving
    arrangement = arrangement or default_arrangement(serving)
    configs = {}
    for role, suffix in ROLES.items():
        config = model_config_pb2.ModelConfig(
            name=f"{spec.name}{suffix}",
            backend="onnxruntime" if role == "onnx" else "python",
            max_batch_size=serving.max_batch_size,
        )
        for fact in inputs:
            _add(config.input, fact, spec, role)
        for fact in outputs:
            _add(config.output, fact, spec, role)
        configs[role] = config
    if serving.max_batch_size:
        # The original is the last resort: a queue that batches for it costs nothing while it idles.
        configs["original"].dynamic_batching.SetInParent()
        if arrangement.dynamic_batching:
            configs["onnx"].dynamic_batching.SetInParent()
        # The hybrid joins requests by itself; a queue of Triton's is for those who would rather wait for company.
        if arrangement.queue_delay_us:
            configs["hybrid"].dynamic_batching.max_queue_delay_microseconds = arrangement.queue_delay_us
    _fill_twin(configs["onnx"], arrangement)
    gpu_config.fill_twin(configs["onnx"], serving.gpu, traits)
    _fill_original(configs["original"], spec)
    gpu_config.fill_original(configs["original"], traits)
    _fill_hybrid(configs["hybrid"], spec, ratios, arrangement)
    return configs


def _fill_twin(config: Any, arrangement: Arrangement) -> None:
    # KIND_AUTO runs on a GPU where there is one: the same repository serves both.
    config.instance_group.add(count=arrangement.instances, kind=model_config_pb2.ModelInstanceGroup.KIND_AUTO)
    config.parameters["intra_op_thread_count"].string_value = str(arrangement.threads)
    config.parameters["inter_op_thread_count"].string_value = "1"
    if arrangement.split_rows:
        config.parameters["split_rows"].string_value = "1"
    # A plan of the memory would be kept for every batch size that was seen: on EfficientNet-Lite0 with batches of 1, 10
    # and 100 they take 700 MB and save no time.
    config.parameters["enable_mem_pattern"].string_value = "0"


def _fill_original(config: Any, spec: ModelSpec) -> None:
    group = model_config_pb2.ModelInstanceGroup
    config.instance_group.add(count=spec.serving.original_instances, kind=group.KIND_AUTO)
    config.parameters["threads"].string_value = str(spec.serving.original_threads)


def _fill_hybrid(config: Any, spec: ModelSpec, ratios: Mapping[int, float], arrangement: Arrangement) -> None:
    serving = spec.serving
    group = model_config_pb2.ModelInstanceGroup
    config.instance_group.add(count=arrangement.hybrid_instances, kind=group.KIND_CPU)
    config.output.add(name=SERVED_BY, data_type=model_config_pb2.TYPE_STRING, dims=[1])
    parameters = {
        "primary_model": f"{spec.name}{ROLES['onnx']}",
        "fallback_model": f"{spec.name}{ROLES['original']}",
        "prefer": as_parameter(preference(spec, ratios)),
        "fallback_enabled": str(serving.fallback_enabled).lower(),
        "deadline_ms": str(serving.deadline_ms),
        "primary_budget_ms": str(serving.primary_budget_ms or max(serving.deadline_ms // 2, 1)),
        "max_concurrency": str(serving.max_concurrency),
        "max_fallbacks": str(serving.max_fallbacks or _fallbacks(serving, arrangement)),
        "max_pending": str(serving.max_pending),
        "max_pending_mb": str(serving.max_pending_mb),
        "max_joined_rows": str(arrangement.joined_rows),
        "eager_calls": str(_eager_calls(serving, arrangement)),
        "shadow_share": f"{serving.shadow.share:g}",
        "shadow_max_differing": f"{serving.shadow.max_differing:g}",
        "shadow_quarantine": str(serving.shadow.quarantine).lower(),
        "shadow_keep": str(serving.shadow.keep),
        "shadow_folder": serving.shadow.folder,
        "allow_non_finite_inputs": ",".join(serving.allow_non_finite_inputs),
        "allow_non_finite_outputs": ",".join(serving.allow_non_finite_outputs),
    }
    ranges = {output.name: output.range for output in spec.outputs if output.range}
    if ranges:
        parameters["output_ranges"] = json.dumps(ranges)
    for key, value in parameters.items():
        config.parameters[key].string_value = value


def _eager_calls(serving: ServingSpec, arrangement: Arrangement) -> int:
    # More calls than the twin has instances only wait in its queue: there is time to join them. With batching, that
    # queue joins them itself, and sooner.
    if arrangement.dynamic_batching:
        return serving.max_concurrency
    return math.ceil(arrangement.instances / arrangement.hybrid_instances)


def _fallbacks(serving: ServingSpec, arrangement: Arrangement) -> int:
    # One call for each instance to work on, and one to follow: more would only wait in the twin's own queue, from which
    # they cannot be taken back when the other twin is well again.
    calls = math.ceil(2 * max(serving.original_instances, arrangement.instances) / arrangement.hybrid_instances)
    return min(calls, serving.max_concurrency)


def _add(field: Any, fact: Facts, spec: ModelSpec, role: str) -> None:
    shape = fact.shape[1:] if spec.serving.max_batch_size else fact.shape
    dims = [-1 if isinstance(size, str) else size for size in shape]
    tensor = field.add(name=fact.name, data_type=getattr(model_config_pb2, DTYPES[fact.dtype].triton), dims=dims or [1])
    if not dims and role != "hybrid":
        # Triton has no tensor without dimensions: it is announced as one element and reshaped for the model. The hybrid
        # hands on what callers send and get, so it sees the announced shape.
        tensor.reshape.SetInParent()


def pinned(own: bytes, versions: Sequence[int]) -> bytes:
    """The text of a release's own config.pbtxt, with exactly these versions to serve behind it.

    The text is kept as it is, whatever wrote it: at load it is compared with the release's, byte by byte.
    """
    policy = model_config_pb2.ModelConfig()
    policy.version_policy.specific.versions.extend(versions)
    behind: str = text_format.MessageToString(policy)
    return own + behind.encode()


def write_config(config: Any, path: Path) -> None:
    """Write a configuration as text, in one step."""
    replace_file(text_format.MessageToString(config).encode(), path)


def replace_file(content: bytes, path: Path) -> None:
    """Replace the file in one step: a reader sees the old text or the new one, never half."""
    temporary = unfinished(path)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        # Or a power cut could leave the new name with nothing in it.
        os.fsync(file.fileno())
    temporary.replace(path)


def unfinished(path: Path) -> Path:
    """What `replace_file` leaves beside the file when it is killed."""
    return path.with_name(f".{path.name}.new")


def read_config(path: Path) -> Any:
    """Parse a config.pbtxt. Raises PublishError where it does not fit the schema."""
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise PublishError(f"{path} is not a Triton model configuration: {error}; restore it from a release") from error
    return config


def interface_difference(old: Any, new: Any) -> str | None:
    """In words, what callers of `old` would find changed in `new`; None if nothing.

    That is tensors, dtypes, dims, batching, and fewer rows in a call.
    """
    if told := layout_difference(old, new):
        return told
    if 0 < new.max_batch_size < old.max_batch_size:
        return _batch_told(old, new)
    return None


def layout_difference(old: Any, new: Any) -> str | None:
    """In words, why one configuration cannot serve both: other tensors, dtypes, dims or batching; None if it can."""
    for kind in ("input", "output"):
        before = {t.name: (t.data_type, tuple(t.dims)) for t in getattr(old, kind)}
        after = {t.name: (t.data_type, tuple(t.dims)) for t in getattr(new, kind)}
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                told = [_told(tensors.get(name)) for tensors in (before, after)]
                return f"{kind} '{name}' was {told[0]} and becomes {told[1]}"
    if (old.max_batch_size > 0) != (new.max_batch_size > 0):
        return _batch_told(old, new)
    return None


def _batch_told(old: Any, new: Any) -> str:
    return f"max_batch_size was {old.max_batch_size} and becomes {new.max_batch_size}"


def _told(tensor: tuple[int, tuple[int, ...]] | None) -> str:
    if tensor is None:
        return "absent"
    return f"{model_config_pb2.DataType.Name(tensor[0])} {list(tensor[1])}"
