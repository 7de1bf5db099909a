"""The commands of `python -m serving`, a module for each family."""
