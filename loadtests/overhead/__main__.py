"""What the hybrid costs: measured against the twin that it asks first, called directly, in turns, on one server.

Prints a table and writes build/overhead.json. A share of the answers is compared with the twin's first answer, and the
hybrid's must come from the twin; a failed request or a wrong answer ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from tritonclient.utils import InferenceServerException

from loadtests import direct
from loadtests.arguments import count, destination, parser, say, seconds, write
from loadtests.circumstances import asked_first, configuration, machine, models_of
from loadtests.closed_loop import Connections
from loadtests.figures import RATIOS, Limits, Round, broken_limits, compare, report, table
from loadtests.overhead.comparison import Comparison, Plan, WrongAnswer
from loadtests.priority import ahead_of_the_server
from loadtests.wire import random_inputs
from serving import ServingError, TritonServer

_EXIT_CODES = """exit codes:
  0  every limit holds
  1  a limit is broken, a request failed, or an answer was wrong
  2  usage, or the server could not be started or asked
  130  interrupted; the numbers of clients that were measured until then are written
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code. Figures go to standard output, messages to standard error."""
    arguments = _parser().parse_args(argv)
    try:
        with contextlib.ExitStack() as stack:
            url, pid = arguments.url, None
            if url is None:
                server = stack.enter_context(TritonServer(arguments.repository, load=models_of(arguments.model)))
                url, pid = server.grpc_url, server.pid
            rounds, measured = _measure(url, pid, arguments)
    except (ServingError, InferenceServerException, grpc.RpcError) as error:
        say(f"error: {_sentence(error)}")
        return 2
    except WrongAnswer as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted before all rounds with one number of clients had run; nothing is written")
        return 130
    print(table(rounds))
    limits = Limits(arguments.min_throughput_ratio, arguments.max_p99_ratio, arguments.max_added_p50_ms)
    broken = [line for clients, of in rounds.items() for line in broken_limits(clients, compare(of), limits)]
    command = ["python", "-m", "loadtests.overhead", *(sys.argv[1:] if argv is None else argv)]
    _write(arguments.output, rounds, measured | {"limits": asdict(limits), "broken": broken, "command": command})
    for line in broken:
        say(f"limit broken: {line}")
    if measured["unfinished"]:
        say(f"{measured['unfinished']}; the rest is in {arguments.output}")
        return 130
    return 1 if broken else 0


def _measure(url: str, pid: int | None, arguments: argparse.Namespace) -> tuple[dict[int, list[Round]], dict[str, Any]]:
    """The rounds, and under what circumstances they were run."""
    hybrid = arguments.model
    plan = Plan(
        clients=tuple(arguments.clients),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        quiet=arguments.quiet,
        attempts=arguments.attempts,
        tolerance=arguments.tolerance,
    )
    with ahead_of_the_server() as ahead, direct.client(url) as client, Connections(url) as connections:
        if not ahead:
            say("warning: no right to a real-time priority; answers may wait for this process, which shows in p99")
        first = asked_first(client.get_model_config(hybrid).config)
        twin = f"{hybrid}_{first}"
        inputs = random_inputs(client.get_model_config(twin).config, seed=0)
        circumstances: dict[str, Any] = {
            "config": configuration(client, [twin, hybrid]),
            "machine": machine(),
            "generator_ahead": ahead,
        }
        comparison = Comparison(connections, hybrid, first, inputs, pid)
        unfinished = None
        try:
            comparison.measure(plan)
        except KeyboardInterrupt:
            if not comparison.rounds:
                raise
            missing = ", ".join(str(clients) for clients in plan.clients if clients not in comparison.rounds)
            unfinished = f"interrupted, so nothing is told of {missing} clients"
    return comparison.rounds, circumstances | {"repeated_rounds": comparison.repeated, "unfinished": unfinished}


def _write(path: Path, rounds: dict[int, list[Round]], circumstances: dict[str, Any]) -> None:
    content = {
        **{name: report(rounds, name) for name in RATIOS},
        **circumstances,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": {str(clients): [asdict(one) for one in of] for clients, of in rounds.items()},
    }
    write(path, json.dumps(content, indent=1) + "\n")


def _sentence(error: Exception) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)


def _parser() -> argparse.ArgumentParser:
    made = parser("loadtests.overhead", __doc__, _EXIT_CODES)
    add = made.add_argument
    add("--url", metavar="HOST:PORT", help="the gRPC address of a server that runs already; none is started then")
    add("--clients", type=count, nargs="+", default=[1, 8, 64], help="numbers of clients (default: 1 8 64)")
    add("--rounds", type=count, default=7, help="rounds for each number of clients (default: %(default)s)")
    add("--seconds", type=seconds, default=3.0, help="length of each run, two a round (default: %(default)s)")
    add("--quiet", type=float, default=0.1, help="share of the processors that others may take (default: %(default)s)")
    add("--attempts", type=count, default=3, help="a disturbed round is repeated, up to so often (default: 3)")
    add("--tolerance", type=float, default=1e-5, help="between an answer and the twin's first (default: %(default)s)")
    add("--output", type=destination, default="build/overhead.json", help="where to write (default: %(default)s)")
    add("--min-throughput-ratio", type=float, default=0.95, help="with several clients (default: %(default)s)")
    add("--max-p99-ratio", type=float, default=1.3, help="with several clients (default: %(default)s)")
    add("--max-added-p50-ms", type=float, default=1.0, help="with one client (default: %(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
