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
from loadtests.arguments import count, destination, parser, say, seconds, write
from loadtests.circumstances import asked_first, configuration, machine, models_of
from loadtests.load.lines import HEADER, line_of
from loadtests.load.ratios import beside_rivals, not_compared, ratios
from loadtests.load.slo import BROKEN, KEPT, UNKNOWN, SloError, broken_promises, read_slo, verdict
from loadtests.load.stage import Asked, Load, StageFailed, Where, run_stage
from loadtests.report.page import load_page
from loadtests.report.plots import KINDS, users_told
from loadtests.rivals import FASTAPI
from loadtests.rivals.plain_bytes import why_not
from serving import ServingError, TritonServer
from serving.watch.rounds import GOLDEN

_KINDS = tuple(KINDS)
# Asked if nothing else is said: on a server of our own with the rivals, which run on this machine as well.
_BY_DEFAULT = _KINDS[:5]
_VERDICTS = {
    KEPT: "kept: the promises of {}",
    BROKEN: "BROKEN: the promises of {}",
    UNKNOWN: "unknown: the promises of {}, which are the hybrid's, and it was not asked",
}
_EXIT_CODES = """exit codes:
  0  every promise is kept, or the hybrid, which alone promises anything, was not asked
  1  a promise is broken
  2  usage, or the server or a rival could not be started or asked; what was measured until then is written
  130  interrupted; what was measured until then is written
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run all stages, print, write; return the exit code. Figures go to standard output, messages to standard error."""
    arguments = _arguments(argv)
    stages: list[dict[str, Any]] = []
    unfinished, code = None, 0
    try:
        slo = read_slo(arguments.slo)
        with _server(arguments) as where:
            asked = _asked(where, arguments)
            circumstances = _circumstances(where, arguments)
            loads, left_out = _loads(asked, arguments)
            for stage in _stages(loads, where, asked):
                stages.append(stage)
    except KeyboardInterrupt:
        if not stages:
            say("interrupted before anything was measured")
            return 130
        unfinished, code = "interrupted", 130
    except (ServingError, InferenceServerException, SloError, StageFailed, OSError) as error:
        say(f"error: {error}")
        if not stages:
            return 2
        unfinished, code = str(error), 2
    broken, incomparable = broken_promises(slo, stages), not_compared(stages)
    for line in incomparable:
        say(line)
    found = {
        "stages": stages,
        "unfinished": unfinished and f"after {len(stages)} of {len(loads)} stages: {unfinished}",
        "left_out": left_out + incomparable,
        "ratios": ratios(stages),
        "broken": broken,
        "verdict": verdict(stages, broken),
        "command": ["python", "-m", "loadtests.load", *(sys.argv[1:] if argv is None else argv)],
        **circumstances,
    }
    _tell(found, arguments)
    return code or (1 if broken else 0)


def _tell(found: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write what was found, and print what becomes of it."""
    write(arguments.output, json.dumps(found, indent=1) + "\n")
    page = arguments.output.with_suffix(".html")
    write(page, load_page(found))
    for line in _beside(found["ratios"]):
        print(line)
    for line in found["broken"]:
        say(f"promise broken: {line}")
    until = f"ended {found['unfinished']}; so far " if found["unfinished"] else ""
    print(f"\n{until}{_VERDICTS[found['verdict']].format(arguments.slo)}")
    print(f"all figures are in {arguments.output}, and as a page in {page}")


def _beside(beside: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rivals = beside_rivals(beside)
    if rivals:
        yield ""
    for one in rivals:
        yield (
            f"{users_told(one)}: the hybrid gives {one['answers_per_second']:.2f} times the answers of"
            f" {KINDS[one['to']][0]}, with {one['p99_ms']:.2f} times its p99"
        )


def _loads(asked: Asked, arguments: argparse.Namespace) -> tuple[list[Load], list[str]]:
    """All stages in their order, and who is left out of what is asked if nothing else is said, a sentence each."""
    kinds, left_out = arguments.kinds, []
    if kinds is None and arguments.url is None and asked.graph and asked.release:
        kinds = list(_BY_DEFAULT)
        if reason := why_not(asked.graph):
            kinds.remove(FASTAPI)
            left_out.append(f"{KINDS[FASTAPI][0]} is not asked: {reason}")
    loads = [Load(kind, users, arguments.seconds) for users in arguments.users for kind in kinds or _BY_DEFAULT[:3]]
    if arguments.kill_twin:
        loads.append(Load(_KINDS[0], max(arguments.users), arguments.seconds, True))
    for line in left_out:
        say(line)
    return loads, left_out


def _stages(loads: Sequence[Load], where: Where, asked: Asked) -> Iterator[dict[str, Any]]:
    print(HEADER, flush=True)
    for load in loads:
        stage = run_stage(load, where, asked)
        print(line_of(stage), flush=True)
        for error in stage["errors"][:3]:
            say(f"  {error['times']} times: {error['said']}")
        if load.kill_twin:
            back = stage["fault"]["back_after_s"]
            became = "was not back when the stage ended" if back is None else f"back after {back:.1f} s"
            print(f"{'':7}the twin was killed meanwhile, and {became}")
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
        config = client.get_model_config(arguments.model).config
    release = Path(arguments.repository, arguments.model, version)
    graph = arguments.rival_file or Path(arguments.repository, f"{arguments.model}_onnx", version, "model.onnx")
    return Asked(
        arguments.model,
        release if (release / GOLDEN).is_file() else None,
        arguments.check_every,
        # The rivals ask row by row.
        graph if config.max_batch_size > 0 and graph.is_file() else None,
        asked_first(config),
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


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = _parser()
    arguments = made.parse_args(argv)
    if arguments.kill_twin and arguments.url is not None:
        made.error("the twin of a server that was not started here cannot be killed: leave --url or --kill-twin out")
    return arguments


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
        type=seconds,
        default=15.0,
        help="length of each stage once all users are there (default: %(default)s)",
    )
    add(
        "--kill-twin",
        action="store_true",
        help="in a last stage the twin that is asked first is killed under the most users",
    )
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
    add("--output", type=destination, default="build/load.json", help="where to write (default: %(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
