"""Command line: ``understudy-client COMMAND``, or ``python -m understudy_client COMMAND``.

    models | infer | stats | load | unload

Data goes to standard output, messages go to standard error, one sentence for each error. Exit codes:

      0  done
      2  the command line cannot be used
      3  the request is wrong, or was refused
      4  the model is not there, or not loaded
      5  the server cannot be reached, has no room, or broke the connection
      6  no answer in time
      7  the server failed
      8  a file cannot be read or written
    130  interrupted

In the environment UNDERSTUDY_CONTROL_KEY is the key of the server's control API, for models, stats, load and unload.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from .arguments import INTERRUPTED, exit_code, headers, parser
from .arrays import head, random_inputs, read_inputs, write_outputs
from .calls import Array, Transport
from .catalogue import ServedModel, twin_names
from .client import HybridClient
from .errors import InvalidSettings, UnderstudyClientError
from .prediction import Prediction
from .settings import LOAD_TIMEOUT_S, TIMEOUT_S
from .tables import aligned

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, *, transport: Transport | None = None) -> int:
    """Run one command and return its exit code; ``transport`` takes the place of the connection, for tests."""
    asked = parser().parse_args(arguments)
    try:
        with _client(asked, transport) as client:
            _COMMANDS[asked.command](asked, client)
        sys.stdout.flush()
    except UnderstudyClientError as error:
        print(f"understudy-client: {error}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("understudy-client: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _client(asked: argparse.Namespace, transport: Transport | None) -> HybridClient:
    return HybridClient(
        asked.url,
        protocol=asked.protocol,
        timeout_s=TIMEOUT_S if asked.timeout is None else asked.timeout,
        load_timeout_s=LOAD_TIMEOUT_S if asked.timeout is None else asked.timeout,
        headers=headers(asked, os.environ),
        ssl=asked.ssl,
        root_certificates=asked.root_certificates,
        private_key=asked.private_key,
        certificate_chain=asked.certificate_chain,
        metrics_url=getattr(asked, "metrics", None),
        transport=transport,
    )


def _models(asked: argparse.Namespace, client: HybridClient) -> None:
    models = client.models()
    if asked.json:
        print(json.dumps([asdict(model) for model in models], indent=2))
        return
    rows = [("model", "role", "versions", "state", "reason"), *map(_model_row, models)]
    print("\n".join(aligned(rows)))


def _model_row(model: ServedModel) -> tuple[str, ...]:
    return (model.name, model.role or "-", ", ".join(model.versions) or "-", model.state, model.reason)


def _infer(asked: argparse.Namespace, client: HybridClient) -> None:
    if (asked.random is not None) == bool(asked.file or asked.input):
        raise InvalidSettings("--random", asked.random, "either --random ROWS, or FILE or --input NAME=FILE")
    if asked.random is None:
        data: object = read_inputs(asked.file, asked.input)
    else:
        description = client.describe(asked.model, version=asked.version)
        data = random_inputs(description, asked.random, asked.dynamic, asked.seed)
    prediction = client.predict(data, model=asked.model, version=asked.version)
    if asked.output is not None:
        write_outputs(asked.output, prediction.outputs)
        print(f"understudy-client: wrote {asked.output}", file=sys.stderr)
    print(json.dumps(_as_dict(prediction), indent=2) if asked.json else _as_text(prediction))


def _as_dict(prediction: Prediction) -> dict[str, object]:
    return {
        "model": prediction.model,
        "version": prediction.model_version,
        "served_by": prediction.served_by,
        "served_by_rows": list(prediction.served_by_rows),
        "inference_time_ms": round(prediction.inference_time_ms, 3),
        "request_id": prediction.request_id,
        "outputs": {
            name: {"dtype": _dtype(array), "shape": list(array.shape), "head": head(array)}
            for name, array in prediction.outputs.items()
        },
    }


def _as_text(prediction: Prediction) -> str:
    rows = [("output", "dtype", "shape", "first values")]
    for name, array in prediction.outputs.items():
        values = ", ".join(f"{value:.6g}" if isinstance(value, float) else json.dumps(value) for value in head(array))
        more = ", ..." if array.size > len(head(array)) else ""
        rows.append((name, _dtype(array), str(list(array.shape)), values + more))
    served = f"served by {prediction.served_by}" if prediction.served_by else "not a hybrid"
    said = f"{prediction.model} version {prediction.model_version}, {served}, {prediction.inference_time_ms:.1f} ms"
    return "\n".join([*aligned(rows), said])


def _stats(asked: argparse.Namespace, client: HybridClient) -> None:
    names = asked.models or _served_hybrids(client.models())
    statistics = [client.statistics(name) for name in names]
    if asked.json:
        print(json.dumps([entry.as_dict() for entry in statistics], indent=2))
    elif statistics:
        print("\n\n".join(entry.table() for entry in statistics))
    else:
        print("understudy-client: the server serves no hybrid; give a model's name", file=sys.stderr)


def _served_hybrids(models: Sequence[ServedModel]) -> list[str]:
    """Return the hybrids of which anything is served: they themselves, or a twin."""
    served = {model.name for model in models if model.versions}
    families = {
        model.name: {model.name, *twin_names(model.name).values()} for model in models if model.role == "hybrid"
    }
    return [name for name, family in families.items() if family & served]


def _load(asked: argparse.Namespace, client: HybridClient) -> None:
    _each(asked, client.load, "loaded")


def _unload(asked: argparse.Namespace, client: HybridClient) -> None:
    _each(asked, client.unload, "unloaded")


def _each(asked: argparse.Namespace, verb: Callable[[str], None], done: str) -> None:
    for name in asked.models:
        verb(name)
        print(f"understudy-client: {done} {name}", file=sys.stderr)
    if asked.json:
        print(json.dumps([{"model": name, "done": done} for name in asked.models], indent=2))


def _dtype(array: Array) -> str:
    return "strings" if array.dtype.kind == "O" else str(array.dtype)


_COMMANDS: dict[str, Callable[[argparse.Namespace, HybridClient], None]] = {
    "infer": _infer,
    "load": _load,
    "models": _models,
    "stats": _stats,
    "unload": _unload,
}

if __name__ == "__main__":
    sys.exit(main())
