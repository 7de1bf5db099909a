"""The walk from one release to another, by the pins and on a running server, and the walk back from any step of it.

Forward: the twins serve [old, new], the hybrid switches to new, the twins drop old. At each step the hybrid that serves
finds its own version in both twins: no request fails. With golden samples the new release has to give them before the
hybrid switches (each twin, by version), and again through the hybrid before the old one is let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import PublishError
from ..release.pbtxt import ROLES, TWINS
from .journal import Switch
from .live import Live
from .live_replay import golden_of, replay_hybrid, replay_twins
from .pinning import Pins

__all__ = ["back", "forward", "synchronise"]


def forward(pins: Pins, name: str, switch: Switch, live: Live | None, hybrid: Path) -> None:
    """Serve release `switch.new`, whose hybrid's files lie in `hybrid`. Raises OSError and what the server raises."""

    def serve(versions: Mapping[str, Sequence[int]]) -> None:
        pins.write(versions, switch.new)
        if live:
            _tell(live.server.load, name, versions)

    new = [switch.new]
    serve(switch.beside)
    golden = golden_of(hybrid) if live else None
    if live and golden:
        replay_twins(live.server, name, switch.new, golden)
    serve({"hybrid": new})
    if live and golden:
        twin = replay_hybrid(live.server, name, switch.new, golden)
        live.report(f"live on {live.server.address}: golden samples hold, the hybrid's answered by {twin}")
    serve({role: new for role in TWINS})
    if live and not golden:
        live.report(f"live on {live.server.address}: it loads; it has no golden samples to replay")


def back(pins: Pins, name: str, switch: Switch, live: Live | None) -> list[str]:
    """Serve what was served before the switch, from any step of it, begun by this process or by one that was killed.

    Gives what the server did not take, in sentences: the pins are right in any case. Raises OSError.
    """
    untaken: list[str] = []

    def tell(roles: Iterable[str]) -> None:
        if live:
            untaken.extend(_told(live.server.load, name, roles))

    if switch.old is None:
        if live:
            # The hybrid first: it would go on asking for twins that are gone.
            untaken = _told(live.server.unload, name, reversed(ROLES))
        pins.restore(switch.saved, ROLES)
        return untaken
    if pins.differ(switch.saved, "hybrid"):
        # It may serve already, and whichever hybrid serves needs its twins until the other one has taken over.
        if pins.held(TWINS) != switch.beside:
            pins.write(switch.beside, switch.new)
            tell(TWINS)
        pins.restore(switch.saved, ["hybrid"])
        tell(["hybrid"])
    pins.restore(switch.saved, TWINS)
    tell(TWINS)
    return untaken


def synchronise(pins: Pins, name: str, served: int, live: Live) -> list[str]:
    """Bring a running server to release `served`, which all pins name; gives what was done, in sentences.

    A publisher that was killed can leave it with other releases, and so can whoever switches with no server told.
    Raises PublishError where the server is gone, OSError.
    """
    ready = {role: live.server.versions(f"{name}{suffix}") for role, suffix in ROLES.items()}
    stale = [role for role in ROLES if ready[role] != [served]]
    if not stale:
        return []
    others = [version for version in ready["hybrid"] if version != served and pins.on_disk(version)]
    untaken = []
    if others:
        # The hybrid that serves keeps its twins until the right one has taken over. The last one pinned is that whose
        # configuration this is: by another one both would count as damaged.
        pins.write({role: [*sorted(set(others)), served] for role in TWINS}, served)
        untaken += _told(live.server.load, name, (*TWINS, "hybrid"))
        pins.write({role: [served] for role in TWINS}, served)
        stale = list(TWINS)
    untaken += _told(live.server.load, name, stale)
    return untaken or [f"brought {live.server.address} back to release {served} of {name}"]


def _tell(call: Callable[[str], None], name: str, roles: Iterable[str]) -> None:
    for role in roles:
        call(f"{name}{ROLES[role]}")


def _told(call: Callable[[str], None], name: str, roles: Iterable[str]) -> list[str]:
    """Tell the server of each; gives what it did not take."""
    untaken = []
    for role in roles:
        try:
            _tell(call, name, [role])
        except PublishError as error:
            untaken.append(str(error))
    return untaken
