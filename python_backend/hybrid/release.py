"""What the hybrid can tell of its release on disk before anybody asks: damage of its own, and of its twins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import ReleaseRefused
from .integrity import CONFIG, ReleaseDamaged, pins, require_intact
from .settings import Tolerance

_EVIDENCE = "evidence.json"


def require_release(directory: Path) -> None:
    """Raise ReleaseRefused unless the version in `directory` is what was published."""
    try:
        require_intact(directory)
    except ReleaseDamaged as error:
        raise ReleaseRefused(str(error)) from error


def require_twins(directory: Path, models: Mapping[str, str]) -> None:
    """Raise ReleaseRefused where every twin out of `models` pins another release than that in `directory`."""
    pinned = {model: pins(directory.parents[1] / model / CONFIG) for model in models.values()}
    # A twin that pins nothing was not published, or does not lie in this repository.
    if pinned and all(versions and int(directory.name) not in versions for versions in pinned.values()):
        told = ", ".join(f"{model} pins {', '.join(map(str, versions))}" for model, versions in pinned.items())
        raise ReleaseRefused(
            f"{directory.parent / CONFIG} pins release {directory.name}, but {told}: it would have nobody to ask; "
            "roll the model back to a release, which pins all three again"
        )


def proved_tolerance(directory: Path) -> Tolerance | None:
    """What the twins were allowed to differ by when the release in `directory` was made; None where nobody says."""
    try:
        parity = json.loads((directory / _EVIDENCE).read_text(encoding="utf-8"))["parity"]
        return Tolerance(float(parity["atol"]), float(parity["rtol"]), float(parity.get("of_largest", 0.0)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def damaged_twins(directory: Path, models: Mapping[str, str]) -> dict[str, str]:
    """Twins whose files are not what was published, each with the sentence that says so.

    The original refuses to load by itself. Triton's C++ ONNX Runtime backend looks at no checksum, so that the ONNX
    twin is looked at from here.
    """
    try:
        require_intact(directory.parents[1] / models["onnx"] / directory.name)
    except ReleaseDamaged as error:
        return {"onnx": str(error)}
    return {}
