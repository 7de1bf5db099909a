"""What the shapes of a load have in common: `--peak` users at most, for `--length` seconds."""

from __future__ import annotations

from typing import Any

from locust import LoadTestShape, events


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    parser.add_argument("--peak", type=int, default=500, help="with a shape: the most users")
    parser.add_argument("--length", type=float, default=120.0, help="with a shape: how many seconds it takes")


class Shape(LoadTestShape):  # type: ignore[misc]
    """A number of users for each part of the time."""

    abstract = True

    @property
    def peak(self) -> int:
        """The most users."""
        return int(self.runner.environment.parsed_options.peak)

    def users(self, part: float) -> int:
        """How many there are when this part of the time, from 0 to 1, has gone."""
        raise NotImplementedError

    def tick(self) -> tuple[int, float] | None:
        """What Locust asks every second: users, and how many of them may come or go a second; None at the end."""
        part = self.get_run_time() / self.runner.environment.parsed_options.length
        return None if part >= 1 else (self.users(part), float(self.peak))
