"""Command line: `python -m serving serve|watch|load|unload|reload|switch|status`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from serving.commands import models, serve, watch
from serving.commands.shared import EXIT_CODES, say
from serving.ending import end
from serving.errors import ServingError

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Data go to standard output, messages to standard error."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except ServingError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, watch, models):
        module.add(commands)
    return parser


if __name__ == "__main__":
    end(main())
