"""Why an original model could not be loaded or run.

OriginalError
├── ArtefactMissing     a file of the bundle is not there
├── ArtefactUnreadable  the framework refused the file
├── ParameterInvalid    a parameter of config.pbtxt; the model refuses to load
├── CodeNotTrusted      loading would run code from the file
├── FactoryFailed       the factory was not found, raised, or gave no module
├── WeightsMismatch     the weights do not fit the module
├── SignatureMissing    a SavedModel has no such signature
├── RankUnknown         an input may have any number of dimensions
├── RunFailed           the model, or its framework, raised while it computed
├── RowsUnequal         an output has more or fewer rows than the inputs
└── DtypeUnknown        an output has a dtype that NumPy lacks
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Colours of a terminal, and the name that TensorFlow gave to a function.
_MARKUP = re.compile(r"\x1b\[[0-9;]*m|\{\{function_node \S+\}\} ?")
_PREAMBLE = re.compile(
    r"Graph execution error:|in user code:|Detected at node |<stack traces unavailable>"
    r"|(\w+: )?Exception encountered when calling "
)
# Behind it Keras tells the cause, in front of it pages of the configuration that it was reading.
_CAUSE = "Exception encountered: "


class OriginalError(Exception):
    """Base of everything that this package raises."""


class ArtefactMissing(OriginalError):
    """A file or folder that the bundle names is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} does not exist; name the model's file in [source] of model.toml")


class ArtefactUnreadable(OriginalError):
    """The framework could not read the file."""

    def __init__(self, path: Path, framework: str, cause: str) -> None:
        super().__init__(f"{framework} cannot read {path}: {cause}")


class ParameterInvalid(OriginalError):
    """A parameter in config.pbtxt has a value that makes no sense."""

    def __init__(self, key: str, expected: str, found: str) -> None:
        super().__init__(f"parameter '{key}' of the original must be {expected}, found '{found}'; correct config.pbtxt")


class CodeNotTrusted(OriginalError):
    """Loading the file would run code that is stored in it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} holds code ({what}) that loading would run; if you trust it, set trust_code = true in [source]"
        )


class FactoryFailed(OriginalError):
    """The factory could not be imported or called, or gave something else than a module."""

    def __init__(self, factory: str, cause: str) -> None:
        super().__init__(f"factory '{factory}': {cause}")


class WeightsMismatch(OriginalError):
    """The names or shapes in the weights are not those of the module."""

    def __init__(self, files: Iterable[Path], factory: str, cause: str) -> None:
        names = ", ".join(path.name for path in files)
        super().__init__(f"the weights in {names} do not fit the module that '{factory}' builds: {cause}")


class SignatureMissing(OriginalError):
    """A SavedModel lacks the signature asked for."""

    def __init__(self, path: Path, signature: str, known: Iterable[str]) -> None:
        listed = ", ".join(sorted(known)) or "none"
        super().__init__(f"{path} has no signature '{signature}' (it has: {listed}); set signature in [source]")


class RankUnknown(OriginalError):
    """An input does not tell how many dimensions it has, so that no request for it can be described."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"input '{name}' may have any number of dimensions, and has to have a fixed one to be served; give it a "
            "shape, such as [None, 4], where the model is saved"
        )


class RunFailed(OriginalError):
    """The model, or its framework, raised while it computed."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the original model failed: {cause}")


class RowsUnequal(OriginalError):
    """An output of a batched model has more or fewer rows than the inputs, so that nobody can tell whose they are."""

    def __init__(self, output: str, shape: Iterable[int], rows: int) -> None:
        super().__init__(
            f"output '{output}' of the original has shape {list(shape)} for a batch of {rows}; its first dimension "
            "must be the batch: give a row for each, or set max_batch_size = 0 in [serving] of model.toml"
        )


class DtypeUnknown(OriginalError):
    """An output has a dtype that no NumPy array, and so no response, can hold."""

    def __init__(self, output: str, dtype: str) -> None:
        super().__init__(f"output '{output}' has dtype {dtype}, which NumPy lacks; cast it inside the model")
        self.output = output
        self.dtype = dtype


@contextmanager
def run_failures() -> Iterator[None]:
    """Raise RunFailed for whatever is raised within, but for what this package raises itself."""
    try:
        yield
    except OriginalError:
        raise
    # A model is the user's code: whatever it raises is the news to pass on, and it is not to end the process.
    except (Exception, SystemExit) as error:
        raise RunFailed(first_line(error)) from error


def not_unpickled(path: Path, framework: str, error: pickle.UnpicklingError) -> OriginalError:
    """Why a pickle was refused: it holds code, or is none."""
    # weights_only refuses both code and plain garbage with this class; only the former is worth trusting.
    if "Unsupported" in str(error) or "weights_only" in str(error).lower():
        return CodeNotTrusted(path, "a pickle of Python objects")
    return ArtefactUnreadable(path, framework, first_line(error))


def first_line(error: BaseException) -> str:
    """The first line of an error that says something, with its type: frameworks add pages of context around it.

    An error that says nothing itself is told by its cause.
    """
    try:
        text = str(error)
    # A class of the user's may fail to tell of itself.
    except Exception:  # noqa: BLE001
        text = ""
    name = type(error).__name__
    cause = text.rpartition(_CAUSE)[2]
    lines = _MARKUP.sub("", cause if cause.strip() else text).splitlines()
    said = next(_telling(lines), "")
    # What follows are steps to take that are the same for every error.
    if (not said or said.endswith("Next steps:")) and error.__cause__ not in (None, error):
        return first_line(error.__cause__)
    said = said or next((line.strip() for line in lines if line.strip()), "")
    return f"{name}: {said.removeprefix(f'{name}: ')[:300]}" if said else name


def _telling(lines: Iterable[str]) -> Iterator[str]:
    """The lines that are neither TensorFlow's and Keras' preambles nor part of a traceback within the text."""
    place: int | None = None
    for line in filter(str.strip, lines):
        said, indent = line.strip(), len(line) - len(line.lstrip())
        # Below a place in a file stands its code, further in.
        if place is not None and indent > place:
            continue
        place = indent if said.startswith('File "') else None
        if place is None and not _PREAMBLE.match(said):
            yield said
