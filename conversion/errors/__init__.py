"""Everything that `conversion` raises, and the exit code that the command line makes of it.

ConversionError                        exit code
├── SpecError                                  3   model.toml
│   ├── SpecMissing
│   ├── SpecUnreadable
│   ├── UnknownKey
│   ├── WrongValue
│   └── KeyMissing
├── ArtefactError                              4   the model's files, or what they do when loaded
├── ExportFailed                               5   no exporter could convert the model
├── Unsupported                                6   the graph cannot be served as the spec asks
│   ├── UnsupportedDtype
│   ├── FixedDimension
│   ├── RowsMixed
│   ├── UnsupportedGraph
│   ├── NameMismatch
│   ├── NameTaken
│   ├── OutputsCollide
│   ├── BranchBaked
│   ├── AnswersWaver
│   └── AnswersNotFinite
├── ParityBroken                               7   no twin matches the original
├── AccuracyLost                               7   every twin that matches loses too much accuracy
├── ProviderMissing                            6   an execution provider did not come up
├── BrokenOnnx                                 8   not a valid ONNX file
├── PublishError                               9   the repository could not be written or switched
│   ├── RepositoryLocked
│   ├── InterfaceChanged
│   ├── NothingServed
│   ├── ReleaseUnknown
│   ├── ReleaseBroken
│   ├── ReleaseRefused
│   │   └── AnswersDiffer
│   ├── ReleaseQuarantined
│   ├── ReleaseStays
│   ├── RehearsalImpossible
│   ├── ModelForeign
│   ├── RepositoryUnreadable
│   ├── JournalDamaged
│   ├── StagingImpossible
│   ├── UndoFailed
│   └── RepositoryUnwritable
├── MeasuringFailed                           10   the process that measured memory failed
├── WorkerDied                                10   the converting process was killed
├── VerificationFailed                        11   a release is not what was published, or answers otherwise
├── SamplesDiffer                             11   a release answers otherwise than its original did in service
├── PreflightFailed                           12   the target would refuse the release, or answer otherwise
└── TargetUnknown                              2   --target names no Triton release that is known
"""

from __future__ import annotations

from .base import (
    ConversionError,
)
from .model import (
    AccuracyLost,
    AnswersNotFinite,
    AnswersWaver,
    ArtefactError,
    BranchBaked,
    BrokenOnnx,
    ExportFailed,
    FixedDimension,
    MeasuringFailed,
    NameMismatch,
    NameTaken,
    OutputsCollide,
    ParityBroken,
    ProviderMissing,
    RowsMixed,
    Unsupported,
    UnsupportedDtype,
    UnsupportedGraph,
    WorkerDied,
)
from .release import (
    AnswersDiffer,
    InterfaceChanged,
    JournalDamaged,
    ModelForeign,
    NothingServed,
    PreflightFailed,
    PublishError,
    RehearsalImpossible,
    ReleaseBroken,
    ReleaseQuarantined,
    ReleaseRefused,
    ReleaseStays,
    ReleaseUnknown,
    RepositoryLocked,
    RepositoryUnreadable,
    RepositoryUnwritable,
    SamplesDiffer,
    StagingImpossible,
    TargetUnknown,
    UndoFailed,
    VerificationFailed,
)
from .spec import (
    KeyMissing,
    SpecError,
    SpecMissing,
    SpecUnreadable,
    UnknownKey,
    WrongValue,
)

__all__ = [
    "AccuracyLost",
    "AnswersDiffer",
    "AnswersNotFinite",
    "AnswersWaver",
    "ArtefactError",
    "BranchBaked",
    "BrokenOnnx",
    "ConversionError",
    "ExportFailed",
    "FixedDimension",
    "InterfaceChanged",
    "JournalDamaged",
    "KeyMissing",
    "MeasuringFailed",
    "ModelForeign",
    "NameMismatch",
    "NameTaken",
    "NothingServed",
    "OutputsCollide",
    "ParityBroken",
    "PreflightFailed",
    "ProviderMissing",
    "PublishError",
    "RehearsalImpossible",
    "ReleaseBroken",
    "ReleaseQuarantined",
    "ReleaseRefused",
    "ReleaseStays",
    "ReleaseUnknown",
    "RepositoryLocked",
    "RepositoryUnreadable",
    "RepositoryUnwritable",
    "RowsMixed",
    "SamplesDiffer",
    "SpecError",
    "SpecMissing",
    "SpecUnreadable",
    "StagingImpossible",
    "TargetUnknown",
    "UndoFailed",
    "UnknownKey",
    "Unsupported",
    "UnsupportedDtype",
    "UnsupportedGraph",
    "VerificationFailed",
    "WorkerDied",
    "WrongValue",
    "by_name",
]


def by_name() -> dict[str, type[ConversionError]]:
    """All classes of the tree, for an error that crossed a process boundary."""
    found: dict[str, type[ConversionError]] = {}
    queue: list[type[ConversionError]] = [ConversionError]
    while queue:
        cls = queue.pop()
        found[cls.__name__] = cls
        queue += cls.__subclasses__()
    return found
