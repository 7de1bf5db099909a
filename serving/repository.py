"""Read a model repository as far as serving needs it: which models there are, and in which order they load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import RepositoryError, UsageError


@dataclass(frozen=True)
class ServedModel:
    """One folder with a config.pbtxt. `twins` are the models that a hybrid calls, empty for every other model."""

    name: str
    backend: str
    twins: tuple[str, ...]


def read_repository(repository: Path) -> dict[str, ServedModel]:
    """The models that have a config.pbtxt, by name. Raises RepositoryError for one that does not parse."""
    if not repository.is_dir():
        raise RepositoryError(repository, "no such directory", "publish a model first, with `make convert`")
    configs = sorted(repository.glob("*/config.pbtxt"))
    return {path.parent.name: _read_model(path) for path in configs}


def _read_model(path: Path) -> ServedModel:
    config = _parse(path)
    named = (config.parameters[key].string_value for key in ("primary_model", "fallback_model"))
    return ServedModel(path.parent.name, config.backend or config.platform, tuple(name for name in named if name))


def _parse(path: Path) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(path, f"not a model configuration ({error})", "publish the model again") from error


def load_stages(models: dict[str, ServedModel], wanted: list[str] | None) -> list[list[str]]:
    """Names to load, in stages: all of one stage may load at once, twins come before the hybrids that call them.

    None wants every model that was read. A name without config.pbtxt may be one that Triton completes by itself.
    Raises UsageError for a name that is wanted twice.
    """
    names = list(models) if wanted is None else wanted
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"models to load: {', '.join(repeated)} is named more than once")
    hybrids = [name for name in names if name in models and models[name].twins]
    return [stage for stage in ([name for name in names if name not in hybrids], hybrids) if stage]
