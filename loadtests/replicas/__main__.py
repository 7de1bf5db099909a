"""How many answers a second do more replicas give? One to several embedded Tritons behind HAProxy, under the same load.

All of them serve the same repository on this machine and share its cores. Each number of replicas has its turn in every
round. Prints a table, writes build/replicas.json and build/replicas.html.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from loadtests import direct
from loadtests.arguments import count, destination, parser, say, seconds, write
from loadtests.circumstances import asked_first, machine, models_of
from loadtests.circumstances import configuration as served_as
from loadtests.closed_loop import Connections, Run
from loadtests.figures import percentile, spread
from loadtests.replicas.balancer import Addresses, balancer
from loadtests.replicas.page import replicas_page
from loadtests.wire import Answer, Tolerance, decode, difference, encode, random_inputs
from serving import ServingError, TritonServer

_EXIT_CODES = """exit codes:
  0    done
  1    a request failed, or was answered wrongly
  2    usage, or a server or HAProxy could not be started
  130  interrupted; the rounds that had ended until then are written
"""
_KEEP_EVERY = 50
_WARM_UP_S = 2.0
_TOLERANCE = Tolerance(1e-4, 1e-4)


class AnswersFailed(Exception):
    """Requests failed, or were answered wrongly: figures would mean nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code. Figures go to standard output, messages to standard error."""
    arguments = _parser().parse_args(argv)
    try:
        found = _measure(arguments)
    except AnswersFailed as error:
        say(f"error: {error}")
        return 1
    except (ServingError, grpc.RpcError) as error:
        say(f"error: {error.details() if isinstance(error, grpc.Call) else error}")
        return 2
    except KeyboardInterrupt:
        say("interrupted before a round had ended; nothing is written")
        return 130
    print(_table(found))
    output: Path = arguments.output
    page = output.with_suffix(".html")
    write(output, json.dumps(found, indent=1) + "\n")
    write(page, replicas_page(found))
    say(f"written: {output}, {page}")
    if found["unfinished"]:
        say(found["unfinished"])
        return 130
    return 0


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    names, numbers = models_of(arguments.model), list(dict.fromkeys(arguments.replicas))
    with contextlib.ExitStack() as stack:
        servers: dict[str, Addresses] = {}
        for number in range(1, max(numbers) + 1):
            say(f"starting replica {number}")
            server = stack.enter_context(TritonServer(arguments.repository, load=names))
            servers[f"replica{number}"] = Addresses(server.http_url, server.grpc_url)
        client = stack.enter_context(direct.client(servers["replica1"].grpc))
        first = asked_first(client.get_model_config(arguments.model).config)
        twin = f"{arguments.model}_{first}"
        told = served_as(client, [twin, arguments.model])
        request = encode(arguments.model, random_inputs(client.get_model_config(twin).config, seed=0))
        rounds: list[dict[int, dict[str, float]]] = []
        unfinished = None
        try:
            while len(rounds) < arguments.rounds:
                say(f"round {len(rounds) + 1} of {arguments.rounds}")
                order = numbers if len(rounds) % 2 == 0 else numbers[::-1]
                rounds.append({replicas: _turn(arguments, servers, replicas, request, first) for replicas in order})
        except KeyboardInterrupt:
            if not rounds:
                raise
            unfinished = f"interrupted after {len(rounds)} of {arguments.rounds} rounds"
    by_number = {replicas: [one[replicas] for one in rounds] for replicas in numbers}
    return {
        "model": arguments.model,
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        "replicas": {str(replicas): _summary(of, by_number[numbers[0]]) for replicas, of in by_number.items()},
        "unfinished": unfinished,
        "config": told,
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _turn(
    arguments: argparse.Namespace, servers: dict[str, Addresses], replicas: int, request: bytes, first: str
) -> dict[str, float]:
    """One turn of so many replicas, whose twin `first` is to answer. Raises AnswersFailed, BalancerFailed."""
    say(f"  {replicas} behind HAProxy")
    behind = dict(list(servers.items())[:replicas])
    with (
        balancer(arguments.haproxy, behind, [arguments.model]) as proxy,
        Connections(proxy.addresses.grpc) as connections,
    ):
        right = decode(connections.ask(request))
        connections.run(request, arguments.clients, _WARM_UP_S, _KEEP_EVERY)
        run = connections.run(request, arguments.clients, arguments.seconds, _KEEP_EVERY)
    _check(run, right, first)
    return {
        "per_s": run.throughput,
        **{f"p{part}_ms": percentile(run.latencies, part / 100) * 1e3 for part in (50, 99)},
    }


def _check(run: Run, right: Answer, first: str) -> None:
    """Raises AnswersFailed."""
    if run.errors:
        raise AnswersFailed(f"{len(run.errors)} of {len(run.errors) + len(run.latencies)} failed: {run.errors[0]}")
    if not run.latencies:
        raise AnswersFailed("no request was answered; give it longer: --seconds")
    for kept in map(decode, run.kept):
        if wrong := difference(kept, right, _TOLERANCE, first):
            raise AnswersFailed(wrong)


def _summary(rounds: list[dict[str, float]], first: list[dict[str, float]]) -> dict[str, Any]:
    ratio = spread([one["per_s"] / base["per_s"] for one, base in zip(rounds, first, strict=True)])
    medians = {key: spread([one[key] for one in rounds]).median for key in rounds[0]}
    return {**medians, "ratio": ratio.median, "ratio_range": [ratio.min, ratio.max], "rounds": rounds}


def _table(found: dict[str, Any]) -> str:
    lines = [f"{'replicas':>8} {'a second':>9} {'p50 ms':>8} {'p99 ms':>8}  times the first"]
    for replicas, one in found["replicas"].items():
        low, high = one["ratio_range"]
        lines.append(
            f"{replicas:>8} {one['per_s']:9.1f} {one['p50_ms']:8.0f} {one['p99_ms']:8.0f}"
            f"  {one['ratio']:.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    made = parser("loadtests.replicas", __doc__, _EXIT_CODES)
    add = made.add_argument
    add("--replicas", type=count, nargs="+", default=[1, 2, 3], help="numbers of replicas (default: 1 2 3)")
    add("--clients", type=count, default=32, help="so many ask at once (default: %(default)s)")
    add("--rounds", type=count, default=3, help="(default: %(default)s)")
    add("--seconds", type=seconds, default=8.0, help="of each number in each round (default: %(default)s)")
    add("--haproxy", default="haproxy", metavar="PATH", help="the program, 2.6 or newer (default: that of PATH)")
    add("--output", type=destination, default="build/replicas.json", help="where to write (default: %(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(main())
