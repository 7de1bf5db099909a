"""`make load`: a hybrid, its ONNX twin and its original under Locust's users, in turn on one server, and their rivals.

The rivals run the twin's file: FastAPI around ONNX Runtime, as one would write it by hand, and ONNX Runtime alone.

Prints a table, and writes build/load.json and the same as a page, build/load.html. Ends with 1 where the hybrid breaks
a promise of the SLO file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tritonclient.utils import InferenceServerException

from loadtests import direct
from loadtests.arguments import count, parser, say, write
from loadtests.circumstances import configuration, machine, models_of
from loadtests.load.ratios import beside_rivals, ratios
from loadtests.load.slo import Slo, SloError, read_slo
from loadtests.load.stage import Asked, Load, StageFailed, Where, run_stage
from loadtests.report.page import load_page
from loadtests.report.plots import KINDS, users_told
from serving import ServingError, TritonServer
from serving.watch.rounds import GOLDEN

_KINDS = tuple(KINDS)
# Asked if nothing else is said: on a server of our own with the rivals, which run on this machine as well.
_BY_DEFAULT = _KINDS[:5]
_EXIT_CODES = """exit codes:
  0  every promise is kept
  1  a promise is broken
  2  usage, or the server could not be started or asked
  130  interrupted; what was measured until then is written
"""
_HEADER = (
    "users",
    "asked",
    "answers/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "refused",
    "failed",
    "wrong",
    "answered by",
    "CPUs",
    "MB",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all stages, print, write; return the exit code. Figures go to standard output, messages to standard error."""
    arguments = _parser().parse_args(argv)
    stages: list[dict[str, Any]] = []
    interrupted = False
    try:
        slo = read_slo(arguments.slo)
        with _server(arguments) as where:
            asked = _asked(where, arguments)
            circumstances = _circumstances(where, arguments)
            for stage in _stages(where, asked, arguments):
                stages.append(stage)
    except KeyboardInterrupt:
        if not stages:
            say("interrupted before anything was measured")
            return 130
        interrupted = True
    except (ServingError, InferenceServerException, SloError, StageFailed, OSError) as error:
        say(f"error: {error}")
        return 2
    broken = broken_promises(slo, stages)
    command = ["python", "-m", "loadtests.load", *(sys.argv[1:] if argv is None else argv)]
    beside = ratios(stages)
    found = {"stages": stages, "ratios": beside, "broken": broken, "command": command, **circumstances}
    write(arguments.output, json.dumps(found, indent=1) + "\n")
    page = arguments.output.with_suffix(".html")
    write(page, load_page(found))
    for line in _beside(beside):
        print(line)
    for line in broken:
        say(f"promise broken: {line}")
    verdict = "BROKEN" if broken else "kept"
    print(f"\n{'interrupted; so far ' if interrupted else ''}{verdict}: the promises of {arguments.slo}")
    print(f"all figures are in {arguments.output}, and as a page in {page}")
    return 130 if interrupted else 1 if broken else 0


def broken_promises(slo: Slo, stages: Sequence[dict[str, Any]]) -> list[str]:
    """What the hybrid's stages break, in words; the others are there to compare with."""
    broken = []
    for stage in stages:
        if not stage["kind"].startswith("Hybrid"):
            continue
        name = f"{stage['kind']}, twin killed" if stage["fault"] else stage["kind"]
        limits = slo.without("fallback_rate") if stage["fault"] else slo
        broken += [f"{name}, {line}" for line in limits.broken(stage["users"], stage)]
    return broken


def _beside(beside: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rivals = beside_rivals(beside)
    if rivals:
        yield ""
    for one in rivals:
        yield (
            f"{users_told(one)}: the hybrid gives {one['answers_per_second']:.2f} times the answers of"
            f" {KINDS[one['to']][0]}, with {one['p99_ms']:.2f} times its p99"
        )


def line_of(stage: dict[str, Any]) -> str:
    """One stage as a line of the table."""
    by = " ".join(f"{twin or 'itself'} {count}" for twin, count in stage["served_by"].items())
    figures = (
        str(stage["users"]),
        stage["kind"],
        f"{stage['answers_per_second']:.1f}",
        *("-" if stage[key] is None else f"{stage[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
        *(str(stage[key]) for key in ("refused", "failed", "wrong")),
        by or "nobody",
        *(
            "-" if stage[key] is None else text.format(stage[key])
            for key, text in (("processors", "{:.2f}"), ("memory_mb", "{:.0f}"))
        ),
    )
    return _aligned(figures)


def _aligned(cells: Sequence[str]) -> str:
    widths = (5, -12, 9, 7, 7, 7, 7, 6, 5, -24, 5, 6)
    return "  ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def _stages(where: Where, asked: Asked, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    print(_aligned(_HEADER), flush=True)
    for users in arguments.users:
        for kind in arguments.kinds or (_BY_DEFAULT if arguments.url is None and asked.graph else _BY_DEFAULT[:3]):
            stage = run_stage(Load(kind, users, arguments.seconds), where, asked)
            print(line_of(stage), flush=True)
            for error in stage["errors"][:3]:
                say(f"  {error['times']} times: {error['said']}")
            yield stage
    if arguments.kill_twin:
        stage = run_stage(Load(_KINDS[0], max(arguments.users), arguments.seconds, True), where, asked)
        print(line_of(stage), flush=True)
        back = stage["fault"]["back_after_s"]
        print(f"{'':7}the twin was killed meanwhile, and {f'back after {back:.1f} s' if back else 'never came back'}")
        yield stage


@contextlib.contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[Where]:
    """The server that runs already, or one of our own."""
    if arguments.url is not None:
        yield Where(arguments.url, arguments.http_url, arguments.metrics_url, None)
        return
    with TritonServer(arguments.repository, load=models_of(arguments.model)) as server:
        yield Where(server.grpc_url, server.http_url, server.metrics_url, server.pid)


def _asked(where: Where, arguments: argparse.Namespace) -> Asked:
    """What is asked; the release's own files only where the repository is at hand."""
    with direct.client(where.grpc) as client:
        version = max(client.get_model_metadata(arguments.model).versions, key=int)
        batched = client.get_model_config(arguments.model).config.max_batch_size > 0
    release = Path(arguments.repository, arguments.model, version)
    graph = arguments.rival_file or Path(arguments.repository, f"{arguments.model}_onnx", version, "model.onnx")
    return Asked(
        arguments.model,
        release if (release / GOLDEN).is_file() else None,
        arguments.check_every,
        # The rivals ask row by row.
        graph if batched and graph.is_file() else None,
    )


def _circumstances(where: Where, arguments: argparse.Namespace) -> dict[str, Any]:
    with direct.client(where.grpc) as client:
        config = configuration(client, models_of(arguments.model))
    return {
        "model": arguments.model,
        "seconds": arguments.seconds,
        "config": config,
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parser() -> argparse.ArgumentParser:
    made = parser("loadtests.load", __doc__, _EXIT_CODES)
    add = made.add_argument
    add("--url", metavar="HOST:PORT", help="the gRPC address of a server that runs already; none is started then")
    add("--http-url", metavar="HOST:PORT", default="127.0.0.1:8000", help="with --url: its HTTP (default: %(default)s)")
    add(
        "--metrics-url",
        metavar="HOST:PORT",
        default="127.0.0.1:8002",
        help="with --url: its metrics (default: %(default)s)",
    )
    add("--users", type=count, nargs="+", default=[1, 8, 64, 500], help="numbers of users (default: 1 8 64 500)")
    add(
        "--kinds",
        nargs="+",
        choices=_KINDS,
        metavar="KIND",
        help=f"whom they ask, and how, out of {', '.join(_KINDS)} (default: the first five; with --url three)",
    )
    add("--rival-file", type=Path, metavar="FILE", help="the ONNX file that the rivals run (default: the twin's own)")
    add(
        "--seconds",
        type=float,
        default=15.0,
        help="length of each stage once all users are there (default: %(default)s)",
    )
    add("--kill-twin", action="store_true", help="in a last stage the ONNX twin is killed under the most users")
    add(
        "--check-every",
        type=count,
        default=20,
        help="one answer in so many is compared with what is right (default: %(default)s)",
    )
    add(
        "--slo",
        type=Path,
        default=Path(__file__).with_name("slo.toml"),
        help="what the hybrid promises (default: that beside this file)",
    )
    add("--output", type=Path, default=Path("build/load.json"), help="where to write (default: %(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
