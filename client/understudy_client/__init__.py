"""Ask a Triton server's models, and learn who answered: the ONNX twin or the original.

    from understudy_client import HybridClient

    with HybridClient(model="efficientnet_lite0") as client:
        prediction = client.predict(pictures)
        print(prediction.served_by, prediction.output.shape)

`HybridClient` blocks, `AsyncHybridClient` is its twin for asyncio, `FakeTransport` takes a server's place in tests.
"""

from __future__ import annotations

from .answers import Answers
from .async_client import AsyncHybridClient
from .calls import AsyncTransport, Infer, InferAnswer, Tensor, TensorSpec, Transport
from .catalogue import ServedModel
from .client import HybridClient
from .description import ModelDescription
from .errors import (
    AccessDenied,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidAnswer,
    InvalidRequest,
    InvalidSettings,
    LoadFailed,
    ModelNotFound,
    ModelNotReady,
    RequestCancelled,
    RequestTooLarge,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from .fake import FakeModel, FakeTransport, SentCall
from .prediction import Prediction
from .statistics import ModelStatistics, Statistics
from .tensor_errors import MissingInput, SeveralOutputs, UnknownTensor, WrongDtype, WrongShape

__all__ = [
    "AccessDenied",
    "Answers",
    "AsyncHybridClient",
    "AsyncTransport",
    "ClientClosed",
    "ConnectionLost",
    "DeadlineExceeded",
    "FakeModel",
    "FakeTransport",
    "HybridClient",
    "Infer",
    "InferAnswer",
    "InvalidAnswer",
    "InvalidRequest",
    "InvalidSettings",
    "LoadFailed",
    "MissingInput",
    "ModelDescription",
    "ModelNotFound",
    "ModelNotReady",
    "ModelStatistics",
    "Prediction",
    "RequestCancelled",
    "RequestTooLarge",
    "SentCall",
    "ServedModel",
    "ServerError",
    "ServerUnavailable",
    "SeveralOutputs",
    "Statistics",
    "Tensor",
    "TensorSpec",
    "Transport",
    "UnderstudyClientError",
    "UnknownTensor",
    "WrongDtype",
    "WrongShape",
]
