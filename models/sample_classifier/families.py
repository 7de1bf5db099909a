"""The instrument families, in the order of the network's outputs."""

__all__ = ["FAMILIES"]

FAMILIES: tuple[str, ...] = (
    "kick",
    "snare",
    "hi-hat",
    "cymbal",
    "tom",
    "bass",
    "guitar",
    "piano",
    "organ",
    "strings",
    "brass",
    "lead",
)
