"""Command line: `python -m conversion COMMAND`.

Exit codes: 0 done, 1 an error that has no code of its own, 2 wrong use of the command line, 3 model.toml, 4 the model's
files, 5 export, 6 the graph cannot be served, 7 parity or accuracy, 8 broken ONNX file, 9 publishing, 10 a process of
its own died, 11 a release that does not hold, 12 the target would not serve the release, 130 interrupted (by
SIGINT, SIGTERM or SIGHUP). Where several models fail, the first failure gives the code.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from .ending import end, ends_at_once, interruptible

_INTERRUPTED = "interrupted; nothing more was published, and what is served stays so"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    try:
        with interruptible():
            return _run(argv)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(_INTERRUPTED, file=sys.stderr, flush=True)
        return 130


def _run(argv: Sequence[str] | None) -> int:
    # What a signal raises, an import may take for its own failure, or lose; and there is nothing to undo yet.
    with ends_at_once(_INTERRUPTED, 130):
        from .commands.shared import fail
        from .errors import ConversionError

        parser = _parser()
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except (ConversionError, OSError) as error:
        return fail(error)


def _commands() -> tuple[ModuleType, ...]:
    """In the order in which help lists them. Their imports take a second, in which a signal has to find its handler."""
    from .commands import bench, convert, files, preflight, prune, releases, replay, report, tune

    return convert, bench, tune, releases, replay, report, prune, preflight, files


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conversion",
        description="Turn models into ONNX twins that match them, and publish both to a Triton model repository.",
        epilog=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _commands():
        module.add(commands)
    return parser


if __name__ == "__main__":
    end(main())
