"""Which ONNX Runtime each Triton release carries, and what that ONNX Runtime reads.

Sources, read on the branch rYY.MM of each release: `ort_version` in build.py of triton-inference-server/server; the
accelerators in src/onnxruntime.cc of onnxruntime_backend (OpenVINO is compiled in on x86-64 alone). Python is Ubuntu's
own: that of 22.04 in images up to 24.10, of 24.04 from then on.

24.06 is the first release whose Python backend lets a model that is not decoupled answer through response senders
(src/infer_request.cc of python_backend), as the hybrid does: nothing older can serve a release of ours. It is also the
first that takes the accelerator name `cuda`.

What ONNX Runtime reads was measured, for each version, with its package from PyPI on Python 3.11: a graph of one
operator (Relu; Binarizer for ai.onnx.ml) stamped with each opset, and with each IR version, was given to a default
InferenceSession, which refuses a number that was not released when it was built. An opset that is read is no promise
that each of its operators has a kernel (1.23.2 reads opset 23, and has none for its QuantizeLinear on a CPU): only
loading the graph in that version shows it, which `conversion preflight` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import TargetUnknown

__all__ = ["Runtime", "TARGETS", "Target", "known_targets", "require_targets"]


@dataclass(frozen=True)
class Runtime:
    """A version of ONNX Runtime: the highest opset of ai.onnx and of ai.onnx.ml, and the highest IR, that it reads."""

    version: str
    opset: int
    ml_opset: int
    ir: int


@dataclass(frozen=True)
class Target:
    """An image of NVIDIA's Triton. Accelerators bear the names that `optimization.execution_accelerators` takes.

    ONNX Runtime's own CPU provider, and CUDA's in instances on a GPU, need no name.
    """

    release: str
    runtime: Runtime
    python: str
    cpu_accelerators: tuple[str, ...] = ("openvino",)
    gpu_accelerators: tuple[str, ...] = ("tensorrt", "cuda")

    def __str__(self) -> str:
        return f"Triton {self.release} (ONNX Runtime {self.runtime.version})"


# Version, opset of ai.onnx, opset of ai.onnx.ml, IR.
_RUNTIMES = (
    Runtime("1.18.0", 21, 5, 10),
    Runtime("1.18.1", 21, 5, 10),
    Runtime("1.19.0", 21, 5, 10),
    Runtime("1.19.2", 21, 5, 10),
    Runtime("1.20.1", 21, 5, 10),
    Runtime("1.21.0", 22, 5, 10),
    Runtime("1.22.0", 22, 5, 10),
    Runtime("1.23.0", 23, 5, 11),
    Runtime("1.23.1", 23, 5, 11),
    Runtime("1.23.2", 23, 5, 11),
    Runtime("1.24.1", 25, 5, 13),
    Runtime("1.24.2", 25, 5, 13),
    Runtime("1.24.4", 25, 5, 13),
    Runtime("1.27.0", 26, 5, 13),
    Runtime("1.28.0", 26, 5, 13),
)
# Release, ONNX Runtime, Python.
_RELEASES = (
    ("24.06", "1.18.0", "3.10"),
    ("24.07", "1.18.1", "3.10"),
    ("24.08", "1.19.0", "3.10"),
    ("24.09", "1.19.2", "3.10"),
    ("24.10", "1.19.2", "3.10"),
    ("24.11", "1.19.2", "3.12"),
    ("24.12", "1.20.1", "3.12"),
    ("25.01", "1.20.1", "3.12"),
    ("25.02", "1.20.1", "3.12"),
    ("25.03", "1.21.0", "3.12"),
    ("25.04", "1.21.0", "3.12"),
    ("25.05", "1.22.0", "3.12"),
    ("25.06", "1.22.0", "3.12"),
    ("25.07", "1.22.0", "3.12"),
    ("25.08", "1.23.0", "3.12"),
    ("25.09", "1.23.0", "3.12"),
    ("25.10", "1.23.1", "3.12"),
    ("25.11", "1.23.2", "3.12"),
    ("25.12", "1.23.2", "3.12"),
    ("26.01", "1.23.2", "3.12"),
    ("26.02", "1.24.1", "3.12"),
    ("26.03", "1.24.2", "3.12"),
    ("26.04", "1.24.4", "3.12"),
    ("26.05", "1.24.4", "3.12"),
    ("26.06", "1.24.4", "3.12"),
    ("26.07", "1.27.0", "3.12"),
    ("26.08", "1.28.0", "3.12"),
)
_BY_VERSION = {runtime.version: runtime for runtime in _RUNTIMES}
TARGETS: dict[str, Target] = {
    release: Target(release, _BY_VERSION[runtime], python) for release, runtime, python in _RELEASES
}


def require_targets(releases: Iterable[str]) -> None:
    """Refuse what was asked for on the command line and is not in the table. Raises TargetUnknown."""
    for release in releases:
        if release not in TARGETS:
            raise TargetUnknown(known_targets(release), release)


def known_targets(found: str) -> str:
    """What a target has to be, in words, with the known release that is nearest to `found` where one can be told."""
    first, *_, last = TARGETS
    near = _nearest(found)
    hint = f", perhaps '{near}'" if near else ""
    return f"a Triton release from {first}, the first that can run the hybrid, to {last}{hint}"


def _nearest(found: str) -> str | None:
    # 24.10 without quotes is the number 24.1, and an image's tag goes on behind the release.
    for release in TARGETS:
        if found and (release.startswith(found) or found.startswith(release)):
            return release
    dated = re.match(r"(\d\d)\.(\d\d?)$", found)
    if dated is None:
        return None
    year, month = map(int, dated.groups())
    return min(TARGETS, key=lambda release: abs((int(release[:2]) - year) * 12 + int(release[3:]) - month))
