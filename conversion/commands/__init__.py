"""The commands of `python -m conversion`: each module adds its own to the parser, and only parses, calls and prints."""
