"""Read a model repository as far as serving needs it: its models, their order, and how many processes they have."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from serving.errors import RepositoryError, UsageError

# What Triton makes of a model on the CPU whose configuration names no number (SetDefaultInstanceCount of its core).
_INSTANCES = {"onnxruntime": 2}

# By model when its config.pbtxt was written, and what it says: the same again, written later, was another meanwhile.
Configurations: TypeAlias = dict[str, tuple[int, bytes]]


@dataclass(frozen=True)
class ServedModel:
    """One folder with a config.pbtxt. `twins` are the models that a hybrid calls, empty for every other model.

    It has so many `instances`, of all versions that are served.
    """

    name: str
    backend: str
    twins: tuple[str, ...]
    instances: int = 1


def read_repository(repository: Path) -> tuple[dict[str, ServedModel], dict[str, RepositoryError]]:
    """The models that have a config.pbtxt, by name, and what is wrong with those whose one does not parse.

    Raises RepositoryError where there is no repository.
    """
    if not repository.is_dir():
        raise RepositoryError(repository, "no such directory", "publish a model first, with `make convert`")
    configs = sorted(repository.glob("*/config.pbtxt"))
    models: dict[str, ServedModel] = {}
    broken: dict[str, RepositoryError] = {}
    for path in configs:
        try:
            models[path.parent.name] = _read_model(path)
        except RepositoryError as error:
            broken[path.parent.name] = error
    return models, broken


def dangling(repository: Path) -> list[Path]:
    """Links to nothing in it: as long as one is there Triton 24.10 lists none of its models."""
    return [path for path in sorted(repository.iterdir()) if path.is_symlink() and not path.exists()]


def _read_model(path: Path) -> ServedModel:
    config = _parse(path)
    named = (config.parameters[key].string_value for key in ("primary_model", "fallback_model"))
    instances = _instances(config) * _versions(config, path.parent)
    return ServedModel(
        path.parent.name, config.backend or config.platform, tuple(name for name in named if name), instances
    )


def _instances(config: Any) -> int:
    """Those of one version. A group is there once for each GPU that it names."""
    default = _INSTANCES.get(config.backend, 1)
    return sum((one.count or default) * max(1, len(one.gpus)) for one in config.instance_group) or default


def _versions(config: Any, folder: Path) -> int:
    """How many are served; at least 1, since of a folder without any there is nothing to tell."""
    policy = config.version_policy
    if policy.WhichOneof("policy_choice") == "specific":
        return max(1, len(set(policy.specific.versions)))
    there = max(1, sum(1 for path in folder.iterdir() if path.name.isdigit()))
    return there if policy.HasField("all") else min(there, policy.latest.num_versions or 1)


def processes_of(models: Collection[ServedModel], backends: Collection[str]) -> tuple[int, int]:
    """In how many processes the models serve, and how many more there are at most while one of them is switched.

    An instance is a process in these `backends`. A switch loads a model's next release, and its twins', beside those
    that serve.
    """
    processes = {one.name: one.instances if one.backend in backends else 0 for one in models}
    beside = (processes[one.name] + sum(processes.get(twin, 0) for twin in one.twins) for one in models)
    return sum(processes.values()), max(beside, default=0)


def _parse(path: Path) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(path, f"not a model configuration ({error})", "publish the model again") from error
    except OSError as error:
        raise RepositoryError(path, f"cannot be read ({error.strerror})", "give this user the right to it") from error


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


def switch_stages(models: dict[str, ServedModel], names: Collection[str]) -> list[list[str]]:
    """Stages in which these load while they serve: a hybrid's first twin, the hybrid, then its other twin.

    The hybrid that serves until then, and the one from then on, each have a twin of their own release so.
    """
    hybrids = [name for name in names if name in models and models[name].twins]
    last = {twin for name in hybrids for twin in models[name].twins[1:]} - set(hybrids)
    first = [name for name in names if name not in last and name not in hybrids]
    return [stage for stage in (first, hybrids, [name for name in names if name in last]) if stage]


def configurations(repository: Path, wanted: Collection[str] | None) -> Configurations:
    """What each model that is wanted is served by now; None wants every one that has a config.pbtxt."""
    found = {}
    for path in sorted(repository.glob("*/config.pbtxt")):
        with contextlib.suppress(OSError):
            if wanted is None or path.parent.name in wanted:
                found[path.parent.name] = (path.stat().st_mtime_ns, path.read_bytes())
    return found
