"""Make ONNX Runtime sessions, and see that they run where they were told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cuda import load_libraries
from .cuda_graph import OPTION
from .errors import GraphRefused, SettingRefused
from .runner import Run
from .settings import CPU, Provider, Settings


def open_session(
    path: Path, settings: Settings, providers: Sequence[Provider], threads: int, *, graphs: bool = False
) -> Any:
    """An onnxruntime.InferenceSession. `threads` holds where the settings name no intra-op thread count; 0 for none.

    Only with `graphs` does it make CUDA graphs, where a provider's options ask for them. Raises GraphRefused for a file
    that ONNX Runtime does not read, SettingRefused when a provider did not come up: ONNX Runtime would quietly run on
    the CPU instead.
    """
    import onnxruntime

    require_providers(providers)
    if any(provider != CPU for provider in providers):
        load_libraries()
    options = _session_options(onnxruntime, settings, threads)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[(one.name, options_of(one.options, graphs=graphs)) for one in providers]
        )
    except Exception as error:  # ONNX Runtime raises a class per status, which have no base of their own
        raise GraphRefused(f"onnx runtime error: {error}") from error
    missing = sorted({provider.name for provider in providers} - set(session.get_providers()))
    if missing:
        raise SettingRefused(f"ONNX Runtime could not start {', '.join(missing)}; its log says why")
    return session


def options_of(options: Mapping[str, str], *, graphs: bool) -> dict[str, str]:
    """A provider's options for a session that may make CUDA graphs, or may not: most meet batches of many sizes."""
    return {key: value for key, value in options.items() if graphs or key != OPTION}


def require_providers(providers: Sequence[Provider]) -> None:
    """Raise SettingRefused when the installed ONNX Runtime lacks one of `providers`."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    absent = sorted({provider.name for provider in providers} - set(available))
    if absent:
        raise SettingRefused(
            f"this ONNX Runtime ({onnxruntime.__version__}) has no {', '.join(absent)}, only {', '.join(available)}; "
            "install one that has, or use KIND_CPU"
        )


def open_signature(path: Path, op_libraries: tuple[str, ...]) -> Any:
    """A session to read the signature from: on one CPU thread, without any optimisation. Raises GraphRefused."""
    return open_session(path, Settings(graph_level="disabled", op_libraries=op_libraries), [CPU], threads=1)


def _session_options(onnxruntime: Any, settings: Settings, threads: int) -> Any:
    levels = onnxruntime.GraphOptimizationLevel
    level = {
        "all": levels.ORT_ENABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "disabled": levels.ORT_DISABLE_ALL,
    }
    modes = onnxruntime.ExecutionMode
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level[settings.graph_level]
    options.execution_mode = modes.ORT_PARALLEL if settings.parallel else modes.ORT_SEQUENTIAL
    options.intra_op_num_threads = settings.intra_op_threads or threads
    options.inter_op_num_threads = settings.inter_op_threads
    if settings.cpu_memory_arena is not None:
        options.enable_cpu_mem_arena = settings.cpu_memory_arena
    if settings.memory_pattern is not None:
        options.enable_mem_pattern = settings.memory_pattern
    # Threads that spin for work between two requests would take the processors from Triton and from the other models.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for library in settings.op_libraries:
        options.register_custom_ops_library(library)
    return options


def runner_of(session: Any, settings: Settings) -> Run:
    """The run of a session, with what the settings ask of every run. Several threads may call it at once."""
    if not settings.run_entries:
        plain: Run = session.run
        return plain
    import onnxruntime

    options = onnxruntime.RunOptions()
    for key, value in settings.run_entries.items():
        options.add_run_config_entry(key, value)
    return lambda names, feeds: session.run(names, feeds, options)
