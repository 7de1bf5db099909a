"""Gather the original's files into a bundle: one folder that loads without the folder it came from."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

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
    found: dict[str, Path] = {}
    for place in (*places, *source.files):
        _add(spec, found, dict(_files(spec, place)))
    _add(spec, found, _weights(spec))
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
        path=_inside(spec, source.path).as_posix() if source.path else None,
        factory=_factory(spec) or None,
        arguments=source.arguments,
        weights=tuple(_weights(spec)),
        signature=source.signature,
        trust_code=source.trust_code,
    )
    bundle.write(directory)
    return bundle


def _factory(spec: ModelSpec) -> str:
    """The factory by the place of its file in the bundle, so that no file outside of it is run."""
    place, colon, attribute = spec.source.factory.partition(":")
    return f"{_inside(spec, place)}{colon}{attribute}" if place.endswith(".py") else spec.source.factory


def _weights(spec: ModelSpec) -> dict[str, Path]:
    place = spec.source.weights
    if not place:
        return {}
    found = {inside: path for inside, path in _files(spec, place) if path.suffix.lower() in _WEIGHTS}
    if not found:
        raise ArtefactError(
            f"{spec.name}: '{place}' holds no weights; expected a file or a folder of {', '.join(_WEIGHTS)}"
        )
    return found


def _add(spec: ModelSpec, found: dict[str, Path], more: dict[str, Path]) -> None:
    """Add to `found`. Raises ArtefactError where a place in the bundle would have two files, or a file and a folder."""
    for inside, path in more.items():
        other = found.setdefault(inside, path)
        if other.resolve() != path.resolve():
            raise ArtefactError(f"{spec.name}: {other} and {path} would both be '{inside}' in the release; rename one")
    for inside, path in found.items():
        for above in PurePosixPath(inside).parents:
            if above.as_posix() in found:
                other = found[above.as_posix()]
                raise ArtefactError(f"{spec.name}: {path} would lie below the file {other} in the release; rename one")


def _files(spec: ModelSpec, place: str) -> Iterator[tuple[str, Path]]:
    path, inside = resolve(spec, place), _inside(spec, place)
    if path.is_file():
        yield inside.as_posix(), path
        return
    for file in sorted(_below(spec, path)):
        if "__pycache__" not in file.parts:
            yield (inside / file.relative_to(path)).as_posix(), file


def _below(spec: ModelSpec, folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file below a folder, behind links too. Raises ArtefactError where a link leads back."""
    here = folder.resolve()
    if here in above:
        raise ArtefactError(f"{spec.name}: the link {folder} leads back to {here}, which it lies in; remove it")
    for path in folder.iterdir():
        if path.is_dir():
            yield from _below(spec, path, (*above, here))
        elif path.is_file():
            yield path


def _inside(spec: ModelSpec, place: str) -> PurePosixPath:
    """Files of the model's folder keep their place; those from elsewhere lie under their own name.

    A link is known by the name that it has itself: what it leads to may have another suffix, or another place.
    Raises ArtefactError where a file has no name of its own, so that it would lie outside of the bundle.
    """
    path = resolve(spec, place)
    named = Path(os.path.normpath(path))
    # The folder's place has no links in it, and an absolute path may.
    for found in (named, named.parent.resolve() / named.name):
        if found.is_relative_to(spec.folder):
            return PurePosixPath(found.relative_to(spec.folder))
    if path.name in ("", ".."):
        raise ArtefactError(f"{spec.name}: '{place}' would lie outside of the release; name what of it the model needs")
    return PurePosixPath(path.name)
