"""Gather the original's files into a bundle: one folder that loads without the folder it came from."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from python_backend.original.bundle import SOURCE, Bundle

from .errors import ArtefactError
from .spec import ModelSpec

__all__ = ["make_bundle", "resolve", "source_files"]

_PACKAGE = "package:"
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")


def resolve(spec: ModelSpec, place: str) -> Path:
    """The path that `place` means in `spec`. A package is found without importing it. Raises ArtefactError."""
    if not place.startswith(_PACKAGE):
        path = spec.folder / place
    else:
        name, _, inside = place.removeprefix(_PACKAGE).partition("/")
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None or not found.submodule_search_locations:
            raise ArtefactError(f"{spec.name}: the package '{name}' of '{place}' is not installed; pip install it")
        path = Path(found.submodule_search_locations[0]) / inside
    if not path.exists():
        raise ArtefactError(f"{spec.name}: {path} does not exist; correct '{place}' in [source] of model.toml")
    return path


def source_files(spec: ModelSpec) -> dict[str, Path]:
    """Every file of the original: its path inside the bundle's `source`, and where it is now. Raises ArtefactError."""
    source = spec.source
    places = [source.path] if source.path else []
    if ".py:" in source.factory:
        places.append(source.factory.partition(":")[0])
    found = dict(pair for place in (*places, *source.files) for pair in _files(spec, place))
    found.update(_weights(spec))
    return dict(sorted(found.items()))


def make_bundle(spec: ModelSpec, directory: Path) -> Bundle:
    """Copy the original's files into `directory`/source and describe them. Raises ArtefactError."""
    for inside, path in source_files(spec).items():
        target = directory / SOURCE / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    source = spec.source
    bundle = Bundle(
        format=source.format,
        path=_inside(spec, source.path) if source.path else None,
        factory=source.factory or None,
        arguments=source.arguments,
        weights=tuple(_weights(spec)),
        signature=source.signature,
        trust_code=source.trust_code,
    )
    bundle.write(directory)
    return bundle


def _weights(spec: ModelSpec) -> dict[str, Path]:
    place = spec.source.weights
    if not place:
        return {}
    found = {inside: path for inside, path in _files(spec, place) if path.suffix in _WEIGHTS}
    if not found:
        raise ArtefactError(
            f"{spec.name}: '{place}' holds no weights; expected a file or a folder of {', '.join(_WEIGHTS)}"
        )
    return found


def _files(spec: ModelSpec, place: str) -> Iterator[tuple[str, Path]]:
    path, inside = resolve(spec, place), _inside(spec, place)
    if path.is_file():
        yield inside, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield f"{inside}/{file.relative_to(path).as_posix()}", file


def _inside(spec: ModelSpec, place: str) -> str:
    """Files of the model's folder keep their place; those from elsewhere lie under their own name."""
    path = resolve(spec, place)
    try:
        return path.resolve().relative_to(spec.folder).as_posix()
    except ValueError:
        return path.name
