"""`python -m loadtests.rivals.in_process FILE`: ONNX Runtime and nothing else, which no server can be faster than.

Its users wait in a line, and stand in it again when they have their answer; writes what Locust's summary would hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.figures import percentile
from loadtests.questions import NoQuestions, Question, from_release
from loadtests.rivals.session import calls_for, open_session
from loadtests.wire import Answer, Arrays


@dataclass
class _Counted:
    """What all users together saw. Times are in seconds; `ended` are those of the answers, since the epoch."""

    took: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def ask(path: Path, questions: Sequence[Question], users: int, seconds: float, check_every: int) -> dict[str, Any]:
    """`users` ask for `seconds`, and are all answered; gives figures as `loadtests.summary` does."""
    calls = calls_for(users)
    session = open_session(path, calls)
    names = [each.name for each in session.get_outputs()]
    asked_for = [_as_run(question.inputs) for question in questions]
    session.run(names, asked_for[0])
    counted = _Counted()
    # Who waits, and since when: a user stands here again as soon as it is answered.
    line: SimpleQueue[tuple[int, float]] = SimpleQueue()
    answered = count()
    counted_from, started = time.time(), time.perf_counter()
    for user in range(users):
        line.put((user, started))
    end = started + seconds

    def serve() -> None:
        while True:
            number, asked = line.get()
            if asked >= end:
                # For the others to see as well.
                line.put((number, asked))
                return
            question = number % len(questions)
            try:
                outputs = session.run(names, asked_for[question])
            # ONNX Runtime's classes come from C++ and share no base but Exception.
            except Exception as error:  # noqa: BLE001
                counted.failed.update([(str(error).splitlines() or [type(error).__name__])[0]])
                line.put((number + 1, time.perf_counter()))
                continue
            now = time.perf_counter()
            counted.took.append(now - asked)
            counted.ended.append(time.time())
            line.put((number + 1, now))
            if next(answered) % check_every == 0:
                wrong = questions[question].wrong(Answer(dict(zip(names, outputs, strict=True)), frozenset()))
                counted.wrong.update([wrong] if wrong else [])

    threads = [threading.Thread(target=serve) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _figures(counted, counted_from, time.perf_counter() - started)


def _figures(counted: _Counted, counted_from: float, seconds: float) -> dict[str, Any]:
    answers = len(counted.took)
    by_second = Counter(int(when) for when in counted.ended)
    parts = {f"p{round(part * 100)}_ms": part for part in (0.5, 0.95, 0.99)}
    times = {name: percentile(counted.took, part) * 1e3 if answers else None for name, part in parts.items()}
    errors = (counted.failed + counted.wrong).items()
    return {
        "answers": answers,
        "refused": 0,
        "failed": counted.failed.total(),
        "wrong": counted.wrong.total(),
        "served_by": {"": answers} if answers else {},
        "counted_from": counted_from,
        "counted_until": max(counted.ended, default=None),
        "seconds": seconds,
        "answers_per_second": answers / seconds,
        **times,
        "slowest_ms": max(counted.took) * 1e3 if answers else None,
        "refused_p50_ms": None,
        "errors": [{"of": "in process", "said": said, "times": times} for said, times in errors],
        "by_second": {"": {str(second): by_second[second] for second in sorted(by_second)}} if answers else {},
    }


def _as_run(inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Inputs as ONNX Runtime takes them from Python: of strings that are bytes it would take what Python prints."""
    found = dict(inputs)
    for name, array in inputs.items():
        if array.dtype.kind == "O":
            found[name] = np.array([value.decode() for value in array.flat], np.object_).reshape(array.shape)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, and write the summary."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.rivals.in_process", description=__doc__)
    add = parser.add_argument
    add("file", type=Path, help="the graph")
    add("--release", type=Path, required=True, help="the hybrid's version folder, for its golden samples")
    add("--users", type=int, required=True)
    add("--seconds", type=float, required=True)
    add("--check-every", type=int, required=True, help="one answer in so many is compared with what is right")
    add("--summary", type=Path, required=True, help="a file to write the figures to, as JSON")
    arguments = parser.parse_args(argv)
    try:
        questions = from_release(arguments.release, batched=True)
    except NoQuestions as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    figures = ask(arguments.file, questions, arguments.users, arguments.seconds, arguments.check_every)
    arguments.summary.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
