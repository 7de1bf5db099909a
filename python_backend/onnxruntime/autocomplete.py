"""Fill in what config.pbtxt leaves out, as the C++ backend does: signature, max_batch_size, dynamic batching."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .dtypes import INVALID
from .errors import SignatureRefused
from .graph import Graph, GraphTensor

DEFAULT_MAX_BATCH_SIZE = 4


def is_complete(config: dict[str, Any]) -> bool:
    """Whether inputs and outputs are written down. Then nothing is filled in, not even the batch size."""
    return bool(config.get("input") or config.get("batch_input")) and bool(config.get("output"))


def complete(config: dict[str, Any], graph: Graph) -> None:
    """Fill in `config`, a ModelConfig as Triton writes it in JSON, in place.

    Raises SignatureRefused when a batch size is written down and the graph cannot batch.
    """
    _complete_batching(config, graph)
    batched = config["max_batch_size"] > 0
    if not (config.get("input") or config.get("batch_input")):
        config["input"] = _entries(graph.inputs.values(), batched=batched)
    if not config.get("output"):
        config["output"] = _entries(graph.outputs.values(), batched=batched)


def is_carried(entry: dict[str, Any]) -> bool:
    """Whether Triton can carry an input or output at all; where it cannot, it says so itself, naming the tensor."""
    return bool(entry["data_type"] != INVALID)


def _complete_batching(config: dict[str, Any], graph: Graph) -> None:
    written = int(config.get("max_batch_size", 0))
    if not graph.batches:
        if written > 0:
            raise SignatureRefused(
                f"autofill failed for model '{config['name']}': model does not support batching while non-zero "
                "max_batch_size is specified"
            )
        config["max_batch_size"] = 0
        return
    config["max_batch_size"] = written or DEFAULT_MAX_BATCH_SIZE
    if config["max_batch_size"] > 1 and "sequence_batching" not in config:
        config.setdefault("dynamic_batching", {})


def _entries(tensors: Iterable[GraphTensor], *, batched: bool) -> list[dict[str, Any]]:
    # The C++ backend lists a hash map, which for a few names comes out as the graph's order reversed.
    return [_entry(tensor, batched=batched) for tensor in reversed(list(tensors))]


def _entry(tensor: GraphTensor, *, batched: bool) -> dict[str, Any]:
    dims = list(tensor.shape[1:] if batched else tensor.shape)
    entry: dict[str, Any] = {"name": tensor.name, "data_type": tensor.data_type, "dims": dims or [1]}
    if batched and not dims:
        # A model configuration has no tensor without dimensions; the reshape takes the written one away again.
        entry["reshape"] = {"shape": []}
    return entry
