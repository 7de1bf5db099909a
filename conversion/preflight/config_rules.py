"""What a Triton would refuse of the three config.pbtxt of a release, told before it is asked to load them.

Three sets of rules: Triton's own for any model (ValidateIOShape, ValidateModelConfig and ValidateInstanceGroup in
src/model_config_utils.cc of triton-inference-server/core); those of the C++ ONNX Runtime backend for the twin, which
the stand-in in python_backend/onnxruntime holds to as well, with the accelerators of the target; and what the hybrid
asks of its own configuration and of its twins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from types import SimpleNamespace
from typing import Any

import onnx
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2

from python_backend.hybrid.errors import HybridError
from python_backend.hybrid.settings import read_settings as read_hybrid_settings
from python_backend.onnxruntime.errors import GraphRefused, SettingRefused
from python_backend.onnxruntime.graph import Graph, read_graph
from python_backend.onnxruntime.settings import read_providers, read_settings
from python_backend.onnxruntime.validate import differences

from ..dtypes import by_onnx
from ..interface import SERVED_BY
from ..release.pbtxt import ROLES
from ..targets import Target

__all__ = ["config_refusals", "twin_refusals", "written_signature"]

# ONNX Runtime's names for element types, where they are not the spec's.
_ELEMENT = {"float32": "float", "float64": "double"}


def written_signature(model: onnx.ModelProto) -> dict[str, Any]:
    """The signature that an ONNX file claims: `inputs`, `outputs` and `overridable`, as probe.py writes them down."""
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = [_node(value) for value in model.graph.input]
    return {
        "inputs": [node for node in nodes if node["name"] not in weights],
        "outputs": [_node(value) for value in model.graph.output],
        "overridable": [node for node in nodes if node["name"] in weights],
    }


def config_refusals(name: str, configs: Mapping[str, Any], target: Target) -> list[str]:
    """What Triton, or the hybrid itself, would refuse of the configurations (by role) of model `name`."""
    found = []
    for role, config in configs.items():
        called = f"{name}{ROLES[role]}"
        if config.name != called:
            found.append(f"config.pbtxt of {called} names the model '{config.name}', where its folder does not")
        found += [f"{called}: {sentence}" for sentence in _model(config)]
    found += [f"{name}{ROLES['onnx']}: {sentence}" for sentence in _accelerators(configs["onnx"], target)]
    found += [f"{name}: {sentence}" for sentence in _hybrid(configs)]
    return found


def twin_refusals(config: Any, signature: Mapping[str, Any]) -> list[str]:
    """What the ONNX Runtime backend would refuse of the twin's configuration, held against its graph's signature."""
    plain = _plain(config)
    found = list(_settings(plain))
    try:
        found += differences(plain, _graph(signature))
    except GraphRefused as error:
        found.append(str(error))
    return [f"{config.name}: {sentence}" for sentence in found]


def _graph(signature: Mapping[str, Any]) -> Graph:
    def nodes(kind: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(**node) for node in signature[kind]]

    # read_graph takes a session; these are the only questions that it asks.
    return read_graph(
        SimpleNamespace(
            get_inputs=lambda: nodes("inputs"),
            get_outputs=lambda: nodes("outputs"),
            get_overridable_initializers=lambda: nodes("overridable"),
        )
    )


def _node(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.WhichOneof("value")
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim]
    if kind != "tensor_type":
        return {"name": value.name, "type": f"{str(kind).removesuffix('_type')}()", "shape": []}
    dtype = by_onnx(tensor.elem_type)
    element = dtype.name if dtype else onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return {"name": value.name, "type": f"tensor({_ELEMENT.get(element, element)})", "shape": shape}


def _plain(config: Any) -> dict[str, Any]:
    """A configuration as Triton hands it to a backend: JSON with the schema's names and defaults."""
    plain: dict[str, Any] = json_format.MessageToDict(
        config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return plain


def _model(config: Any) -> Iterator[str]:
    if config.max_batch_size < 0:
        yield f"'max_batch_size' must be non-negative, found {config.max_batch_size}"
    for kind in ("input", "output"):
        for tensor in getattr(config, kind):
            yield from (f"{kind} '{tensor.name}' {fault}" for fault in _tensor(tensor, config.max_batch_size))
    for size in config.dynamic_batching.preferred_batch_size:
        if not 0 < size <= config.max_batch_size:
            yield (
                f"dynamic batching preferred size must be positive and at most max_batch_size {config.max_batch_size}, "
                f"found {size}"
            )
    for group in config.instance_group:
        if group.gpus and group.kind not in (group.KIND_GPU, group.KIND_AUTO):
            kind = group.Kind.Name(group.kind)
            yield f"an instance group has kind {kind} but specifies GPUs {list(group.gpus)}"


def _tensor(tensor: Any, max_batch_size: int) -> Iterator[str]:
    if not tensor.name:
        yield "must specify 'name'"
    if not tensor.data_type:
        yield "must specify 'data_type'"
    if not tensor.dims:
        yield "must specify 'dims'"
    if any(size < 1 and size != -1 for size in (*tensor.dims, *tensor.reshape.shape)):
        yield f"has the dimensions {list(tensor.dims)}; each must be at least 1, or -1 for a variable size"
    if not tensor.HasField("reshape"):
        return
    if not tensor.reshape.shape and max_batch_size == 0:
        yield "cannot have an empty reshape where max_batch_size is 0: scalars are not supported there"
    if _counts(tensor.dims) != _counts(tensor.reshape.shape):
        yield f"has different sizes for dims {list(tensor.dims)} and reshape {list(tensor.reshape.shape)}"


def _counts(dims: Any) -> list[int]:
    """The number of elements in each run of fixed dimensions, between the variable ones."""
    runs: list[list[int]] = [[]]
    for size in dims:
        if size == -1:
            runs.append([])
        else:
            runs[-1].append(size)
    return [prod(run) for run in runs]


def _accelerators(config: Any, target: Target) -> Iterator[str]:
    accelerators = config.optimization.execution_accelerators
    for field, offered in (
        ("cpu_execution_accelerator", target.cpu_accelerators),
        ("gpu_execution_accelerator", target.gpu_accelerators),
    ):
        for accelerator in getattr(accelerators, field):
            if accelerator.name not in offered:
                yield (
                    f"unknown Execution Accelerator '{accelerator.name}' is requested in {field}; "
                    f"{target} offers {', '.join(offered)}"
                )


def _settings(plain: dict[str, Any]) -> Iterator[str]:
    """The values that cannot be meant, each parameter looked at by itself, so that all of them are told."""
    optimization = plain.get("optimization") or {}
    accelerators = (optimization.get("execution_accelerators") or {}).get("gpu_execution_accelerator") or []
    for key, value in (plain.get("parameters") or {}).items():
        yield from _setting({"parameters": {key: value}})
    for accelerator in accelerators:
        # Which names there are is the target's to say.
        if accelerator["name"] in ("tensorrt", "cuda"):
            alone = {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}
            yield from _setting({"optimization": alone})


def _setting(config: dict[str, Any]) -> Iterator[str]:
    try:
        read_settings(config)
        # Those for a GPU are read by instances on a GPU alone; a release has to hold there too.
        read_providers(config, "GPU", device_id=0)
    except SettingRefused as error:
        yield str(error)


def _hybrid(configs: Mapping[str, Any]) -> Iterator[str]:
    hybrid = configs["hybrid"]
    try:
        settings = read_hybrid_settings(_plain(hybrid))
    except HybridError as error:
        yield str(error)
        return
    for role, called in settings.models.items():
        twin = configs[role]
        if twin.name != called:
            yield f"it asks '{called}' as its {role}, which is not in the release; there is '{twin.name}'"
        if hybrid.max_batch_size > twin.max_batch_size:
            yield (
                f"its max_batch_size {hybrid.max_batch_size} is above {twin.max_batch_size}, that of {twin.name}, "
                "which would refuse its larger calls"
            )
        for kind in ("input", "output"):
            asked, given = (_interface(config, kind) for config in (hybrid, twin))
            if asked != given:
                yield f"its {kind}s ({asked}) are not those of {twin.name} ({given})"


def _interface(config: Any, kind: str) -> str:
    tensors = (tensor for tensor in getattr(config, kind) if tensor.name != SERVED_BY)
    types = model_config_pb2.DataType
    return ", ".join(sorted(f"{t.name} {types.Name(t.data_type)} {list(t.dims)}" for t in tensors))
