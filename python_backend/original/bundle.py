"""The bundle: `original.json` and the files beside it, which together are the original model of one release."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import ArtefactMissing, ArtefactUnreadable, first_line

MANIFEST = "original.json"
SOURCE = "source"


@dataclass(frozen=True)
class Tensor:
    """One input or output. `dtype` is a NumPy name or "string"; None in `shape` is a dynamic dimension, batch first."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Bundle:
    """What it takes to load the original; paths are relative to the folder `source` of the bundle.

    `format` is one of keras, saved_model, torch_module, torchscript, exported_program. `keras_generation` is 3 or 2,
    settled at conversion, so that serving never has to guess. `inputs` and `outputs` are empty until they are known.
    """

    format: str
    path: str | None = None
    factory: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    signature: str = "serving_default"
    trust_code: bool = False
    keras_generation: int | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()

    def write(self, directory: Path) -> None:
        """Write the manifest into `directory`."""
        (directory / MANIFEST).write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_bundle(directory: Path) -> Bundle:
    """Read the manifest in `directory`. Raises ArtefactMissing, ArtefactUnreadable."""
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise ArtefactMissing(manifest)
    try:
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        for key in ("inputs", "outputs"):
            facts[key] = tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in facts[key])
        facts["weights"] = tuple(facts["weights"])
        return Bundle(**facts)
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactUnreadable(manifest, "Understudy", first_line(error)) from error


def source_file(directory: Path, relative: str) -> Path:
    """The path of a file of the bundle in `directory`. Raises ArtefactMissing."""
    path = directory / SOURCE / relative
    if not path.exists():
        raise ArtefactMissing(path)
    return path
