"""`serve`: an embedded Triton on a repository, kept alive until it is stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.commands.shared import Commands, add_command, say, show, with_state
from serving.commands.watch import policy_of, told_on, with_watching
from serving.ending import interruptible
from serving.errors import ServerFailed
from serving.repository import dangling
from serving.server import TritonServer
from serving.watch.keeper import Keeper

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    serve = add_command(commands, "serve", _serve, "start Triton on 127.0.0.1 and serve a repository until Ctrl-C")
    serve.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        metavar="DIR",
        help="model repository (default: %(default)s)",
    )
    for service, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        serve.add_argument(
            f"--{service}-port",
            type=int,
            default=port,
            metavar="PORT",
            help=f"port for {service}, 0 for a free one (default: %(default)s)",
        )
    serve.add_argument(
        "--log", type=Path, default=Path("build/triton.log"), metavar="FILE", help="server log (default: %(default)s)"
    )
    serve.add_argument(
        "--models", metavar="A,B", help="load only these, comma-separated (default: every model with a config.pbtxt)"
    )
    serve.add_argument(
        "--strict", action="store_true", help="end with exit code 6 when a model does not load, instead of saying so"
    )
    serve.add_argument(
        "--drain",
        type=int,
        default=30,
        metavar="SECONDS",
        help="on stop, let requests in flight run for this long (default: %(default)s)",
    )
    dead = serve.add_mutually_exclusive_group()
    dead.add_argument(
        "--no-watch",
        action="store_true",
        help="neither load dead models anew nor start Triton again when it ends by itself",
    )
    dead.add_argument(
        "--on-hybrid-death",
        choices=("reload", "restart"),
        default="reload",
        help="when the process of a hybrid dies: load that model anew, while the requests that it had taken on end by "
        "their own deadline, or start Triton again, so that they end at once and every model is away for seconds "
        "(default: %(default)s)",
    )
    with_watching(serve)
    with_state(serve)


def _serve(arguments: argparse.Namespace) -> int:
    interruptible()
    server = TritonServer(
        arguments.repository,
        http_port=arguments.http_port or None,
        grpc_port=arguments.grpc_port or None,
        metrics_port=arguments.metrics_port or None,
        log_path=arguments.log,
        load=None if arguments.models is None else [name for name in arguments.models.split(",") if name],
        strict=arguments.strict,
        drain_s=arguments.drain,
        state_path=arguments.state,
    )
    say(f"starting Triton on {arguments.repository}; its log is {arguments.log}")
    for link in dangling(arguments.repository) if arguments.repository.is_dir() else ():
        say(f"warning: {link} is a link to nothing: while it is there nobody is told which models there are; remove it")
    with server:
        for name, reason in server.failures.items():
            say(f"warning: could not load model '{name}': {reason}")
        show(f"http\thttp://{server.http_url}")
        show(f"grpc\t{server.grpc_url}")
        show(f"metrics\thttp://{server.metrics_url}/metrics")
        show(f"log\t{arguments.log}")
        try:
            _keep(server, arguments)
        except KeyboardInterrupt:
            say("stopping; requests in flight finish first")
    return 0


def _keep(server: TritonServer, arguments: argparse.Namespace) -> None:
    """Stay while the server runs, or can be started again. Raises ServerFailed, PortTaken."""
    if arguments.no_watch:
        raise ServerFailed(f"ended with {server.wait()}", arguments.log, server.log_tail())
    with told_on(arguments.watch_port) as telling:
        restart = arguments.on_hybrid_death == "restart"
        Keeper(server, telling, policy_of(arguments), restart_for_hybrids=restart).keep()
