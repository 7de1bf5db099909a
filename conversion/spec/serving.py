"""`[serving]` of model.toml: how Triton is to serve a release."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCELERATORS", "GPU_PRECISIONS", "GpuSpec", "ServingSpec", "ShadowSpec", "TunedSpec"]

ACCELERATORS = ("cuda", "tensorrt")
GPU_PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True)
class GpuSpec:
    """How instances on a GPU run the twin; those on a CPU read none of it, so that both serve the same graph.

    `accelerator` is one of ACCELERATORS. `cuda_graphs` launches a call's kernels at once, where CUDA runs batches of
    few sizes. The rest is TensorRT's: `precision`, one of GPU_PRECISIONS, to which it converts by itself,
    `workspace_bytes`, and `engine_cache`, a folder of the server's for built engines, "" for none.
    """

    accelerator: str = "cuda"
    precision: str = "fp32"
    workspace_bytes: int = 1 << 30
    engine_cache: str = ""
    cuda_graphs: bool = True


@dataclass(frozen=True)
class ShadowSpec:
    """How the twins are compared in service: the `share` of the answers that is asked for again at the other twin.

    More than `max_differing` of those compared, and the ONNX twin is asked no more, if `quarantine`. The newest `keep`
    requests on which the twins differed lie in `folder` on the server; "" is understudy-UID-NAME in its temporary one.
    """

    share: float = 0.01
    max_differing: float = 0.1
    quarantine: bool = True
    keep: int = 8
    folder: str = ""


@dataclass(frozen=True)
class TunedSpec:
    """What `tune` found: how the twin is served, as far as [serving] does not say; 0 instances where nothing was tuned.

    `gain` is how many times the answers a second of what was served before, at a 99th percentile within `p99_ms`.
    """

    instances: int = 0
    threads: int = 1
    dynamic_batching: bool = False
    max_joined_rows: int = 1
    max_queue_delay_microseconds: int = 0
    split_rows: bool = False
    hybrid_instances: int = 1
    p99_ms: float = 0.0
    gain: float = 1.0


@dataclass(frozen=True)
class ServingSpec:
    """How Triton serves the release. Milliseconds for budgets, microseconds for the queue delay, as in Triton.

    `primary_budget_ms` is the longest wait for the preferred twin; 0 is half the deadline. `max_joined_rows` bounds the
    calls that the hybrid makes of several requests; 0 is `max_batch_size` with dynamic batching, 1 without.
    `max_fallbacks` bounds its calls that fall back, of `max_concurrency`; 0 is two for each instance of a twin, shared
    out among the processes of the hybrid. The other limits are each process's own.
    `prefer` is who is asked first: one of TWINS, "auto" for who was measured faster, or a table by batch sizes.
    `instances`, `threads`, `dynamic_batching` and `split_rows` are the twin's; None is what measures best:
    conversion/arrangements. So it is for `hybrid_instances`, the processes of the hybrid. A queue delay of None is 0.
    """

    max_batch_size: int = 32
    dynamic_batching: bool | None = None
    max_queue_delay_microseconds: int | None = None
    max_joined_rows: int = 0
    instances: int | None = None
    threads: int | None = None
    split_rows: bool | None = None
    hybrid_instances: int | None = None
    original_instances: int = 1
    original_threads: int = 2
    prefer: str | dict[str, str] = "auto"
    fallback_enabled: bool = True
    deadline_ms: int = 10000
    primary_budget_ms: int = 0
    max_concurrency: int = 16
    max_fallbacks: int = 0
    max_pending: int = 640
    max_pending_mb: int = 512
    allow_non_finite_inputs: tuple[str, ...] = ()
    allow_non_finite_outputs: tuple[str, ...] = ()
    gpu: GpuSpec = GpuSpec()
    shadow: ShadowSpec = ShadowSpec()
    tuned: TunedSpec = TunedSpec()

    @property
    def most_rows(self) -> int:
        """The rows that a call may have: `max_batch_size`, or 1 where there is no batch dimension."""
        return max(self.max_batch_size, 1)
