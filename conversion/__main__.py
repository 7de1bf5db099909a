"""Command line: `python -m conversion COMMAND`.

Exit codes: 0 done, 1 an error that has no code of its own, 2 wrong use of the command line, 3 model.toml, 4 the model's
files, 5 export, 6 the graph cannot be served, 7 parity or accuracy, 8 broken ONNX file, 9 publishing, 10 a process of
its own died, 11 a release that does not hold, 12 the target would not serve the release, 130 interrupted (by
SIGINT, SIGTERM or SIGHUP). Where several models fail, the first failure gives the code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .commands import bench, convert, files, preflight, prune, releases, replay, report, tune
from .commands.shared import fail, say
from .ending import interruptible
from .errors import ConversionError

# In the order in which help lists them.
_COMMANDS = (convert, bench, tune, releases, replay, report, prune, preflight, files)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        with interruptible():
            return run(arguments)
    except (ConversionError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        say("interrupted; nothing was published, what was served before still is")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conversion",
        description="Turn models into ONNX twins that match them, and publish both to a Triton model repository.",
        epilog=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
