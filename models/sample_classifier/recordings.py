"""Tell which recordings of a soundfont a note can sound, so that none is on both sides of the split.

Reads the `pdta` chunk of a SoundFont 2 file: SoundFont Technical Specification 2.04, section 7.
"""

import struct
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from notes import DRUM_BANK, Note

__all__ = ["SoundFont"]

# Generators (section 8.1.2) that this reader needs.
KEY_RANGE, INSTRUMENT, SAMPLE_ID = 43, 41, 53
ANY_KEY = 127 << 8

Zone = tuple[int, int, int]  # lowest key, highest key, instrument or recording


class SoundFont:
    """The presets of one .sf2 file and the recordings behind their keys."""

    def __init__(self, path: Path) -> None:
        """Read the tables of `path`. Raises ValueError when it is no SoundFont 2 file."""
        self._chunks = _preset_chunks(path)
        instruments = self._zones(b"inst", "<20sH", 1, b"ibag", b"igen", SAMPLE_ID)
        presets = self._zones(b"phdr", "<20sHHHIII", 3, b"pbag", b"pgen", INSTRUMENT)
        headers = self._records(b"phdr", "<20sHHHIII")
        self._recordings = {
            (int(header[2]), int(header[1])): [
                (max(low, zone[0]), min(high, zone[1]), zone[2])
                for low, high, instrument in zones
                for zone in instruments[instrument]
            ]
            for header, zones in zip(headers, presets, strict=False)
        }

    def recordings(self, notes: Iterable[Note]) -> set[int]:
        """Give the numbers of the recordings behind `notes`, at any velocity. Raises ValueError for a silent note."""
        found: set[int] = set()
        for note in notes:
            zones = self._recordings.get((note.bank, note.program), [])
            sounding = {recording for low, high, recording in zones if low <= note.key <= high}
            if not sounding:
                kind = "kit" if note.bank == DRUM_BANK else "preset"
                raise ValueError(
                    f"the soundfont has no sound for key {note.key} of {kind} {note.bank}:{note.program}; "
                    "use FluidR3_GM.sf2"
                )
            found |= sounding
        return found

    def _records(self, name: bytes, layout: str) -> list[tuple[int, ...]]:
        return list(struct.iter_unpack(layout, self._chunks[name]))

    def _zones(
        self, heads: bytes, layout: str, field: int, bags: bytes, values: bytes, target: int
    ) -> list[list[Zone]]:
        """For each preset or instrument, its zones that name a `target`."""
        first_bag = [int(head[field]) for head in self._records(heads, layout)]
        first_value = [bag[0] for bag in self._records(bags, "<HH")]
        generators = self._records(values, "<HH")
        result = []
        for start, end in pairwise(first_bag):
            zones = []
            for bag in range(start, end):
                zone = {operator: amount for operator, amount in generators[first_value[bag] : first_value[bag + 1]]}
                if target in zone:
                    keys = zone.get(KEY_RANGE, ANY_KEY)
                    zones.append((keys & 0xFF, keys >> 8, zone[target]))
            result.append(zones)
        return result


def _preset_chunks(path: Path) -> dict[bytes, bytes]:
    data = path.read_bytes()
    start = data.rfind(b"pdtaphdr")
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk" or start < 0:
        raise ValueError(f"{path}: expected a SoundFont 2 file, found another; use FluidR3_GM.sf2")
    chunks: dict[bytes, bytes] = {}
    at = start + 4
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return chunks
