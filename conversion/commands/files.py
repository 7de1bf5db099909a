"""`validate` and `info`: what an ONNX file is."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from ..graphs.graph import describe, load_onnx, validate_file
from .shared import Commands, add_command, show

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    text = "check that a file is a valid ONNX model that ONNX Runtime loads"
    add_command(commands, "validate", _validate, text).add_argument("file", type=Path, help="an .onnx file")
    text = "print the inputs, outputs, opset and operators of an ONNX file as JSON"
    add_command(commands, "info", _info, text).add_argument("file", type=Path, help="an .onnx file")


def _validate(arguments: argparse.Namespace) -> int:
    validate_file(arguments.file)
    show(f"{arguments.file}: valid")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    show(json.dumps(asdict(describe(load_onnx(arguments.file), arguments.file)), indent=2))
    return 0
