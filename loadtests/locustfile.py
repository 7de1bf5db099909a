"""For Locust: `locust -f loadtests/locustfile.py HybridGrpc --host 127.0.0.1:8001 --model NAME`.

The class says what is asked and how; `--host` is host:port of gRPC, or http://host:port for the classes of HTTP. A file
out of `loadtests/shapes` beside this one (`-f loadtests/locustfile.py,loadtests/shapes/spike.py`) varies the number of
users.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from tritonclient.utils import InferenceServerException

from loadtests import direct
from loadtests.priority import ahead_of_the_server
from loadtests.questions import NoQuestions, Question, announced, from_release, made_up
from loadtests.rivals.users import FastApiHttp
from loadtests.summary import summary_of, uncounted
from loadtests.users import (
    CHECK_EVERY,
    HybridGrpc,
    HybridHttp,
    OriginalGrpc,
    OriginalHttp,
    Shared,
    TwinGrpc,
    TwinHttp,
    grpc_call,
)
from loadtests.wire import decode, encode

__all__ = ["FastApiHttp", "HybridGrpc", "HybridHttp", "OriginalGrpc", "OriginalHttp", "TwinGrpc", "TwinHttp"]

# Locust has patched the standard library by now; gRPC's core is to follow before its first channel.
grpc_gevent.init_gevent()
# Held for as long as this process lives.
_ahead = contextlib.ExitStack()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    parser.add_argument(
        "--model", default="efficientnet_lite0", help="the hybrid; its twins are MODEL_onnx and MODEL_original"
    )
    parser.add_argument(
        "--release", default="", help="the hybrid's version folder, for its golden samples (default: made-up values)"
    )
    parser.add_argument(
        "--check-every", type=int, default=CHECK_EVERY, help="one answer in so many is compared with what is right"
    )
    parser.add_argument(
        "--grpc",
        default="",
        help="host:port of gRPC, for what has to be known before the first request (default: --host)",
    )
    parser.add_argument("--summary", default="", help="a file to write all figures to, as JSON, in the end")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, MasterRunner):
        return
    options = environment.parsed_options
    try:
        questions = _questions(options, environment.host)
    except (NoQuestions, InferenceServerException, grpc.RpcError) as error:
        # Locust would go on after any other exception.
        sys.exit(f"error: {error}")
    environment.shared = Shared(options.model, questions, options.check_every)
    _ahead.enter_context(ahead_of_the_server())


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _write(environment: Any, **_: Any) -> None:
    # The master has the figures of all its workers.
    if environment.parsed_options.summary and not isinstance(environment.runner, WorkerRunner):
        figures = summary_of(environment.stats) | {"uncounted": uncounted(environment.runner.exceptions)}
        Path(environment.parsed_options.summary).write_text(json.dumps(figures, indent=1) + "\n")


def _questions(options: Any, host: str) -> list[Question]:
    with direct.client(options.grpc or host) as client:
        config = client.get_model_config(options.model).config
    if options.release:
        return announced(from_release(Path(options.release), batched=config.max_batch_size > 0), config)
    call = grpc_call(options.grpc or host)
    return made_up(config, lambda inputs: decode(call(encode(f"{options.model}_original", inputs), timeout=60)))
