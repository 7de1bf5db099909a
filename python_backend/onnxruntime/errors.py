"""What the stand-in refuses.

    StandInError
    ├── LoadRefused             the model does not load
    │   ├── FeatureMissing      the C++ backend has it, the stand-in does not: the field is named
    │   ├── SettingRefused      a value in config.pbtxt that the C++ backend refuses as well
    │   ├── GraphRefused        the ONNX file is missing, broken, or has inputs or outputs that Triton cannot carry
    │   ├── SignatureRefused    config.pbtxt and graph do not agree
    │   └── ReleaseRefused      a published version whose files are not what was published
    ├── CaptureRefused          no CUDA graph of a session; it runs without
    └── RequestRefused          one request fails; the others of its batch do not

The sentences are the C++ backend's where it has one, so that a person finds the same words in both servers.
"""


class StandInError(Exception):
    """Base of every error of this package."""


class LoadRefused(StandInError):
    """The model does not load."""


class FeatureMissing(LoadRefused):
    """A field of the configuration asks for what only the C++ backend does; ignoring it would answer wrongly."""

    def __init__(self, model: str, field: str) -> None:
        super().__init__(
            f"unable to load model '{model}': the Python stand-in for the ONNX Runtime backend does not support "
            f"'{field}'; remove it, or serve the model with Triton's own onnxruntime backend"
        )
        self.field = field


class SettingRefused(LoadRefused):
    """A parameter whose value cannot be meant."""


class GraphRefused(LoadRefused):
    """There is no graph that could be served."""


class SignatureRefused(LoadRefused):
    """The configuration's inputs and outputs are not the graph's."""


class ReleaseRefused(LoadRefused):
    """A published version, or the config.pbtxt that pins it, is damaged."""


class CaptureRefused(StandInError):
    """The session has no CUDA graph that answers as it does; it is not to be run again."""


class RequestRefused(StandInError):
    """What one request asks for cannot be computed. `invalid` when the caller's data are why."""

    def __init__(self, message: str, *, invalid: bool) -> None:
        super().__init__(message)
        self.invalid = invalid
