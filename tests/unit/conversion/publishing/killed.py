"""One piece of code in many processes, each killed at another step of it.

They are forked from a process that has imported what they need and does nothing else: to start each of them anew takes
ten times as long.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = """
import json, os, signal, sys, traceback
{imports}

for line in sys.stdin:
    home, step = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    steps = 0

    def counted(event, arguments):
        global steps
        if event in {events!r} and ({anywhere} or home in str(arguments[0])):
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        {code}
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""


@contextmanager
def killed_at(
    imports: str, code: str, events: tuple[str, ...], *, anywhere: bool = False
) -> Iterator[Callable[[Path, int], bool]]:
    """Gives what runs `code` in a folder until the step of this number: whether it was killed there, or done before.

    A step is one of these audit `events`, of a path below the folder unless `anywhere`. The code has the folder as
    `home`, and calls `sys.addaudithook(counted)` where steps begin. Raises AssertionError where it fails.
    """
    program = _PROGRAM.format(imports=imports, code=code, events=events, anywhere=anywhere)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told, heard = process.stdin, process.stdout
        assert told is not None
        assert heard is not None

        def run(home: Path, step: int) -> bool:
            told.write(json.dumps([str(home), step]) + "\n")
            told.flush()
            ended = heard.readline().strip()
            assert ended in ("0", str(-signal.SIGKILL)), ended
            return ended != "0"

        yield run
        told.close()
        assert process.wait(60) == 0
