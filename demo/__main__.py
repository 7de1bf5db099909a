"""`make demo`: three real models converted, published, served and called; then each ONNX twin is taken away.

Ends with 0 when every answer is right and comes from the twin that should give it, with 1 otherwise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from understudy_client import HybridClient, Prediction, UnderstudyClientError

from conversion.errors import ConversionError
from conversion.proof.parity import Case, Parity
from conversion.proof.parity import compare as compare_values
from conversion.publishing.repository import Repository
from conversion.release.evidence import EVIDENCE, read_evidence, tolerance_of
from conversion.release.pbtxt import read_config
from conversion.spec import LEVELS
from conversion.spec.preference import asked_first
from python_backend.original.errors import OriginalError
from python_backend.original.factory import find_callable
from serving import ModelControl, ServingError, TritonServer

MODELS = Path("models")
REPOSITORY = Path("model_repository")
LOG = Path("build/demo-triton.log")
# The first answers of a freshly loaded original include its framework's own start.
DEADLINE_S = 60.0
# Hybrids tell their metrics once a second.
METRICS_LAG_S = 1.5
# The server's mean counts the first call as well, which is slow: so many more make it small.
ASKED_AGAIN = 20
ONNX, ORIGINAL = "onnx", "original"


def main(argv: Sequence[str]) -> int:
    """Run the whole demo with the models named (all that have one); gives the exit code."""
    known = sorted(path.parent.name for path in MODELS.glob("*/demo.py"))
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(known)}")
    parser.add_argument("--search", choices=LEVELS, help="how much is tried: off, fast or full (that of model.toml)")
    arguments = parser.parse_args(argv)
    names = arguments.names or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there is no demo of '{unknown[0]}'; name one of {', '.join(known)}")
    try:
        return walk(names, ["--search", arguments.search] if arguments.search else [])
    except (ConversionError, OriginalError, ServingError, UnderstudyClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def walk(names: Sequence[str], more: Sequence[str]) -> int:
    """The street itself, with `more` arguments for `convert`; gives the exit code. Raises what its packages raise."""
    say(f"1. Convert and publish {', '.join(names)} (only what has changed; the first time takes minutes)\n")
    command = [sys.executable, "-m", "conversion", "convert", *(str(MODELS / name) for name in names)]
    converted = subprocess.run([*command, "--server", "none", *more], check=False)
    if converted.returncode:
        return 1
    for name in names:
        tell_release(name)
    say("\n2. Start Triton on the repository\n")
    public = [f"{name}{suffix}" for name in names for suffix in ("_onnx", "_original", "")]
    failures: list[str] = []
    with TritonServer(REPOSITORY, load=public, log_path=LOG) as server, ModelControl(server.grpc_url) as control:
        say(f"   gRPC {server.grpc_url}, HTTP {server.http_url}, log {LOG}")
        with HybridClient(server.grpc_url, timeout_s=DEADLINE_S, metrics_url=server.metrics_url) as client:
            say("\n3. Ask each model by its public name\n")
            twins = {name: ask_twin(client, name, failures) for name in names}
            say("\n4. Ask both twins by their own names, in turn, and compare what the server counted\n")
            time.sleep(METRICS_LAG_S)
            for name in names:
                for _ in range(ASKED_AGAIN):
                    for twin in (ONNX, ORIGINAL):
                        client.predict(inputs_of(name), model=f"{name}_{twin}")
                client.print_statistics(name)
                say("")
            say("5. Unload each ONNX twin, and ask again\n")
            for name in names:
                control.unload(f"{name}_onnx")
                original = ask(client, name, ORIGINAL, failures)
                compare(name, twins[name], original, failures)
                control.load(f"{name}_onnx")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    say("\nThe demo failed." if failures else "\nEvery answer was right, with the ONNX twin and without it.")
    return 1 if failures else 0


def tell_release(name: str) -> None:
    """What was converted, how near the twin is, and how fast both are."""
    evidence = read_evidence(release(name) / EVIDENCE)
    graph, search = evidence["graph"], evidence["search"]
    say(f"\n   {name}, release {release(name).name}")
    say(f"     chosen      {search['chosen']}, out of {len(search['candidates'])} candidates: {graph['nodes']} nodes,")
    say(f"                 {graph['parameters']:,} parameters, {graph['bytes'] / 1e6:.1f} MB")
    for output, worst in evidence["parity"]["worst"].items():
        say(f"     parity      {output}: off by at most {worst['max_abs']:.2g} ({worst['worst']:.1%} of the tolerance)")
    for size, speed in evidence["speed"]["batches"].items():
        say(
            f"     {size:>3} rows    original {speed['original_ms']:.1f} ms, twin {speed['twin_ms']:.1f} ms: "
            f"{speed['ratio']:.1f} times as fast, when it was converted"
        )
    accuracy = evidence["accuracy"]
    say(f"     {accuracy['metric']:<11} original {accuracy['original']:.1%}, twin {accuracy['twin']:.1%}")


def release(name: str) -> Path:
    """The folder of the hybrid in the release that is served; ends the demo where there is none."""
    repository = Repository(REPOSITORY)
    version = repository.served(name)
    if version is None:
        raise SystemExit(f"{name} has no release in {REPOSITORY}")
    return repository.release_folder(name, "hybrid", version)


@cache
def inputs_of(name: str) -> dict[str, NDArray[Any]]:
    """What the model is asked."""
    inputs: dict[str, NDArray[Any]] = find_callable("demo.py:inputs", MODELS / name)()
    return inputs


def ask_twin(client: HybridClient, name: str, failures: list[str]) -> Prediction:
    """What the ONNX twin says: by itself where the release asks it first for so many rows, on demand elsewhere."""
    rows = len(next(iter(inputs_of(name).values())))
    expected = asked_first(read_config(release(name) / "config.pbtxt").parameters["prefer"].string_value, rows)
    prediction = ask(client, name, expected, failures)
    if expected == ONNX:
        return prediction
    say(f"     At {rows} rows this release prefers the original. The twin, by a request's own `prefer`:")
    return ask(client, name, ONNX, failures, wish={"prefer": ONNX})


def ask(
    client: HybridClient, name: str, expected: str, failures: list[str], wish: Mapping[str, str] | None = None
) -> Prediction:
    """Send the model's demo inputs with the request parameters `wish`; show and check the answer and who gave it."""
    prediction = client.predict(inputs_of(name), model=name, parameters=wish)
    say(f"   {name}, served by {prediction.served_by} in {prediction.inference_time_ms:.1f} ms")
    outputs: dict[str, NDArray[Any]] = dict(prediction.outputs)
    for line in find_callable("demo.py:show", MODELS / name)(outputs):
        say(f"     {line}")
    try:
        find_callable("demo.py:check", MODELS / name)(outputs)
    except ValueError as error:
        failures.append(f"{name}, served by {prediction.served_by}: {error}")
    if prediction.served_by != expected:
        failures.append(f"{name} was served by {prediction.served_by}, expected {expected}")
    return prediction


def compare(name: str, twin: Prediction, original: Prediction, failures: list[str]) -> None:
    """The original has to say the same as the twin did, within the tolerance that the release was proved with."""
    evidence = read_evidence(release(name) / EVIDENCE)
    case = Case({"rows": np.zeros(len(original.served_by_rows))}, dict(original.outputs))
    found = Parity(tuple(compare_values(case, dict(twin.outputs), tolerance_of(evidence))))
    failures += [f"{name}: the twin is not its original: {failure}" for failure in found.failures]
    worst = max((c.max_abs for c in found.comparisons if c.max_abs is not None), default=float("nan"))
    say(f"     the same result, worst difference to the twin's {worst:.2g}")


def say(text: str) -> None:
    """Show progress at once, in a pipe too."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
