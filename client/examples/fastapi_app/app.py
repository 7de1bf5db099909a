"""The application: its routes, and the one client that they share."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Header, Path, Query, Request, Response
from tritonclient.utils import triton_to_np_dtype
from understudy_client import (
    AsyncHybridClient,
    InvalidRequest,
    ModelDescription,
    UnderstudyClientError,
)

from . import problems
from .answers import REQUEST_BODY, ModelShown, PredictionShown, json_answer, npy_answer, shown
from .bodies import NPY, content_type, parse, read_body
from .problems import Refusal
from .request_ids import request_id
from .settings import Settings
from .threads import beside_the_loop

__all__ = ["create_app"]

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer: JSON, or a .npy where the request accepts application/octet-stream. A .npy has "
        "the headers x-served-by and x-model-version.",
        "content": {NPY: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_LOG = logging.getLogger(__name__)
# Far beyond any deadline, and still a number that can be divided.
_MOST_MS = 2**63 - 1
# For the client to say that there is no time left.
_NO_TIME_S = 1e-9
_Model = Annotated[str, Path(description="The model's name", examples=["efficientnet_lite0"])]


def create_app(environ: Mapping[str, str] = os.environ) -> FastAPI:
    """Build the application for the settings of the environment; raises `SettingsError`."""
    settings = Settings.of(environ)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # One client a process: one gRPC channel, or one pool of HTTP connections, for all requests. The server ends
        # the lifespan after the last request, so that none loses its connection.
        async with AsyncHybridClient(
            settings.url,
            protocol=settings.protocol,
            timeout_s=settings.deadline_s,
            retries=settings.retries,
            attempt_timeout_s=settings.attempt_s,
        ) as client:
            app.state.client = client
            yield

    app = FastAPI(
        title="Predictions",
        summary="Answers of models that have an ONNX twin and an original to fall back on",
        version="1",
        lifespan=lifespan,
    )
    problems.install(app)
    _add_health(app, settings)
    _add_models(app, settings)
    return app


def _add_health(app: FastAPI, settings: Settings) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Say that this process runs, whatever its models do: restart it when it does not answer."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses=problems.responses(503))
    async def readyz(request: Request) -> dict[str, list[str]]:
        """Ask every model that is offered for one row of zeros: send callers here only while it succeeds."""
        client: AsyncHybridClient = request.app.state.client
        for model in settings.models:
            try:
                description = await client.describe(model)
                with suppress(InvalidRequest):  # it does not like zeros, and it took a model to say so
                    await client.predict(_zeros(description), model=model)
            except UnderstudyClientError as error:
                _LOG.warning("not ready: %s", error)
                sentence = f"Model {model!r} does not answer ({type(error).__name__}); the log has the reason."
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "NotReady", sentence) from error
        return {"ready": list(settings.models)}


def _zeros(model: ModelDescription) -> dict[str, object]:
    """The smallest request that a model's description allows: one row, and 1 for any size."""
    inputs: dict[str, object] = {}
    for spec in model.inputs:
        shape = [max(1, size) for size in spec.shape]
        text = spec.datatype == "BYTES"
        inputs[spec.name] = np.full(shape, b"", object) if text else np.zeros(shape, triton_to_np_dtype(spec.datatype))
    return inputs


def _add_models(app: FastAPI, settings: Settings) -> None:
    def offered(model: str) -> str:
        if model not in settings.models:
            known = ", ".join(map(repr, settings.models))
            raise Refusal(HTTPStatus.NOT_FOUND, "NotOffered", f"There is no model {model!r}; there is {known}.")
        return model

    @app.get("/models/{model}", tags=["models"], responses=problems.responses(404, 502, 503, 504))
    async def describe(request: Request, model: _Model) -> ModelShown:
        """Tell names, dtypes and shapes of what a model takes and gives."""
        return shown(await request.app.state.client.describe(offered(model)))

    @app.post(
        "/models/{model}/predict",
        tags=["models"],
        response_model=PredictionShown,
        responses=_ANSWER | problems.responses(400, 404, 406, 408, 413, 415, 422, 502, 503, 504),
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def predict(
        request: Request,
        model: _Model,
        *,
        version: Annotated[
            int | None, Query(ge=1, description="A version of the model; its own choice if not given")
        ] = None,
        outputs: Annotated[list[str] | None, Query(description="The outputs to answer with; all if not given")] = None,
        x_deadline_ms: Annotated[
            int | None,
            Header(
                ge=1,
                le=_MOST_MS,
                description="The longest to wait, for the body too, if the application does not allow less",
            ),
        ] = None,
        accept: Annotated[str, Header(description="application/octet-stream for a .npy")] = "",
    ) -> Response:
        """Answer with a model's outputs, and with who computed them."""
        offered(model)
        kind = content_type(request)
        own_s = math.inf if x_deadline_ms is None else x_deadline_ms / 1000
        end = time.monotonic() + own_s
        body = await read_body(request, kind, settings, min(settings.body_s, own_s))
        data = await beside_the_loop(len(body), parse, kind, body)
        client: AsyncHybridClient = request.app.state.client
        prediction = await client.predict(
            data,
            model=model,
            version="" if version is None else version,
            outputs=outputs,
            deadline_s=max(_NO_TIME_S, min(settings.deadline_s, end - time.monotonic())),
            request_id=request_id(request),
        )
        size = sum(array.nbytes for array in prediction.outputs.values())
        return await beside_the_loop(size, npy_answer if NPY in accept else json_answer, prediction)
