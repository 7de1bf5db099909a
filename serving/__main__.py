"""Command line: `python -m serving serve|load|unload|switch|status`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.control import ModelControl
from serving.errors import ModelError, ServerFailed, ServingError
from serving.server import TritonServer
from serving.state import STATE_FILE, read_state

_EXIT_CODES = """exit codes:
  0    done; for `serve`: stopped by Ctrl-C, SIGTERM or SIGHUP
  1    any other error
  2    usage: an argument, the repository, or a config.pbtxt is wrong
  3    this machine lacks something (Triton, a shared libpython); `python -m serving.doctor` tells what
  4    a port is taken
  5    tritonserver ended by itself, or did not become live
  6    the server refused to load, unload or run a model, or does not know it
  7    no server answers
  130  interrupted before the server was up
"""
_DEFAULT_GRPC = "127.0.0.1:8001"
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Data go to standard output, messages to standard error."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except ServingError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m serving", description=__doc__, epilog=_EXIT_CODES, formatter_class=formatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    for name, run, text in (
        ("load", _load, "load a model, or the versions that its config.pbtxt pins now"),
        ("unload", _unload, "drop a model, after its requests in flight"),
        ("switch", _switch, "serve what the configurations of a published model pin now: twins first, then the hybrid"),
    ):
        command = commands.add_parser(name, help=text, description=text, epilog=_EXIT_CODES, formatter_class=formatter)
        command.add_argument("name", metavar="NAME", help="the model")
        _add_address(command)
        command.set_defaults(run=run)
    text = "list the server's models: name, version, state, reason"
    status = commands.add_parser("status", help=text, description=text, epilog=_EXIT_CODES, formatter_class=formatter)
    status.add_argument(
        "--probe", action="store_true", help="also run each ready model once on zeros; a dead one still says READY"
    )
    _add_address(status)
    status.set_defaults(run=_status)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "start Triton on 127.0.0.1 and serve a repository until Ctrl-C"
    formatter = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser("serve", help=text, description=text, epilog=_EXIT_CODES, formatter_class=formatter)
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
    _add_state(serve)
    serve.set_defaults(run=_serve)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grpc-url",
        metavar="HOST:PORT",
        help=f"the server (default: the one in the state file, else {_DEFAULT_GRPC})",
    )
    _add_state(parser)


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        default=STATE_FILE,
        metavar="FILE",
        help="file that tells where the server runs (default: %(default)s)",
    )


def _serve(arguments: argparse.Namespace) -> int:
    # SIGINT too: a shell that starts us in the background has it ignored, and Python then leaves it so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
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
    _say(f"starting Triton on {arguments.repository}; its log is {arguments.log}")
    with server:
        for name, reason in server.failures.items():
            _say(f"warning: could not load model '{name}': {reason}")
        print(f"http\thttp://{server.http_url}")
        print(f"grpc\t{server.grpc_url}")
        print(f"metrics\thttp://{server.metrics_url}/metrics")
        print(f"log\t{arguments.log}", flush=True)
        try:
            status = server.wait()
        except KeyboardInterrupt:
            _say("stopping; requests in flight finish first")
            return 0
        raise ServerFailed(f"ended with {status}", arguments.log, server.log_tail())


def _load(arguments: argparse.Namespace) -> int:
    with _control(arguments) as control:
        control.load(arguments.name)
    _say(f"loaded {arguments.name}")
    return 0


def _unload(arguments: argparse.Namespace) -> int:
    with _control(arguments) as control:
        control.unload(arguments.name)
    _say(f"unloaded {arguments.name}")
    return 0


def _switch(arguments: argparse.Namespace) -> int:
    with _control(arguments) as control:
        names = control.switch(arguments.name)
    _say(f"loaded {', then '.join(names)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    code = 0
    with _control(arguments) as control:
        for one in control.index():
            cells = [one.name, "" if one.version is None else str(one.version), one.state or "UNLOADED", one.reason]
            if arguments.probe and one.ready:
                try:
                    cells.append(f"answers in {control.probe(one.name, one.version) * 1e3:.1f} ms")
                except ModelError as error:
                    cells.append(f"does not answer: {error.reason}")
                    code = error.exit_code
            print("\t".join(cells).rstrip())
    return code


def _control(arguments: argparse.Namespace) -> ModelControl:
    if arguments.grpc_url is not None:
        return ModelControl(arguments.grpc_url)
    running = read_state(arguments.state)
    return ModelControl(running.grpc_url if running is not None else _DEFAULT_GRPC)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
