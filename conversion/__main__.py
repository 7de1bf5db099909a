"""Command line: `python -m conversion convert | releases | rollback | verify | validate | info`.

Exit codes: 0 done, 1 an error that has no code of its own, 2 wrong use of the command line, 3 model.toml, 4 the model's
files, 5 export, 6 the graph cannot be served, 7 parity, 8 broken ONNX file, 9 publishing, 10 the converting process
died, 11 a release that does not hold, 130 interrupted. Where several models fail, the first failure gives the code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from .errors import ConversionError, PublishError, VerificationFailed
from .graph import describe, load_onnx, validate_file
from .pipeline import Outcome, convert
from .repository import Load, Repository
from .spec_reader import SPEC_FILE, read_spec
from .verify import published, verify

_DEFAULT_MODELS = Path("models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except ConversionError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted; nothing was published, what was served before still is")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conversion",
        description="Turn models into ONNX twins that match them, and publish both to a Triton model repository.",
        epilog=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def with_repository(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--repository", type=Path, default=Path("model_repository"), help="the model repository (%(default)s)"
        )

    def with_server(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--server",
            default="auto",
            help="gRPC address of a running Triton to switch over; 'auto' finds one that 'make serve' started on this "
            "repository, 'none' only writes files (%(default)s)",
        )

    added = command("convert", _convert, "convert models and publish what has changed")
    added.add_argument("folders", nargs="*", type=Path, help="folders with a model.toml (every one in models/)")
    with_repository(added)
    with_server(added)
    added.add_argument("--build", type=Path, default=Path("build"), help="folder for work and logs (%(default)s)")
    added.add_argument("--force", action="store_true", help="convert even where nothing has changed")
    added.add_argument("--new-interface", action="store_true", help="accept inputs or outputs that break callers")
    added = command("releases", _releases, "list the releases of every model, and which one is served")
    added.add_argument("name", nargs="?", help="one model (all)")
    with_repository(added)
    added = command("rollback", _rollback, "serve an earlier release again (or any other one)")
    added.add_argument("name", help="the model's public name")
    added.add_argument("--to", type=int, metavar="N", help="the release to serve (the one before the served one)")
    with_repository(added)
    with_server(added)
    added = command("verify", _verify, "check that releases are what was published, and answer as they did")
    added.add_argument("names", nargs="*", metavar="NAME", help="models (all)")
    with_repository(added)
    added.add_argument("--skip-originals", action="store_true", help="replay the golden samples by the twins alone")
    added.add_argument("--skip-replay", action="store_true", help="compare checksums only")
    added = command("validate", _validate, "check that a file is a valid ONNX model that ONNX Runtime loads")
    added.add_argument("file", type=Path, help="an .onnx file")
    added = command("info", _info, "print the inputs, outputs, opset and operators of an ONNX file as JSON")
    added.add_argument("file", type=Path, help="an .onnx file")
    return parser


def _convert(arguments: argparse.Namespace) -> int:
    folders = arguments.folders or sorted(path.parent for path in _DEFAULT_MODELS.glob(f"*/{SPEC_FILE}"))
    if not folders:
        _say(f"error: no model given, and no {SPEC_FILE} below {_DEFAULT_MODELS}/; name a folder with a {SPEC_FILE}")
        return 2
    repository = Repository(arguments.repository)
    load = _loader(arguments)
    first = 0
    for folder in folders:
        name = folder.resolve().name
        try:
            outcome = convert(
                read_spec(folder),
                repository,
                build_folder=arguments.build.resolve(),
                report=_progress(name),
                force=arguments.force,
                load=load,
                new_interface=arguments.new_interface,
            )
        except ConversionError as error:
            _say(f"error: {error}")
            first = first or error.exit_code
            continue
        print(_told(outcome))
    return first


def _told(outcome: Outcome) -> str:
    evidence = outcome.evidence
    if outcome.unchanged:
        serving = "" if outcome.served == outcome.version else f", release {outcome.served} is served"
        return f"{outcome.name}: unchanged, release {outcome.version} holds it{serving}"
    worst = ", ".join(f"{name} {figures['max_abs']:.2g}" for name, figures in evidence["parity"]["worst"].items())
    speed = evidence["speed"]
    return (
        f"{outcome.name}: release {outcome.version} published ({evidence['export']['exporter']}); "
        f"worst difference: {worst}; batch 1: original {speed['original_ms']:.3g} ms, twin {speed['twin_ms']:.3g} ms"
    )


def _releases(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    names = [arguments.name] if arguments.name else repository.names()
    for name in names:
        served = repository.served(name)
        known = repository.releases(name)
        if not known:
            raise PublishError(f"{arguments.repository} holds no release of '{name}'; publish it with convert")
        print(f"{name}: " + " ".join(f"[{v}]" if v == served else str(v) for v in known) + "   ([n] is served)")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    with repository.locked():
        repository.repair(arguments.name)
        version = repository.switch(arguments.name, arguments.to, _loader(arguments))
    print(f"{arguments.name}: release {version} is served")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    known = published(repository)
    names = arguments.names or known
    if not names:
        raise PublishError(f"{arguments.repository} holds no release to verify; publish one with convert")
    if unknown := sorted(set(names) - set(known)):
        raise PublishError(f"{arguments.repository} holds no release of '{unknown[0]}'; publish it with convert")
    replayed = () if arguments.skip_replay else ("onnx",) if arguments.skip_originals else ("onnx", "original")
    verdicts = []
    for verdict in verify(repository, names, replayed, _progress("verify")):
        print(verdict, flush=True)
        verdicts.append(verdict)
    failed = sum(1 for verdict in verdicts if verdict.problems)
    if failed:
        raise VerificationFailed(failed, len(verdicts))
    return 0


def _validate(arguments: argparse.Namespace) -> int:
    validate_file(arguments.file)
    print(f"{arguments.file}: valid")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    print(json.dumps(asdict(describe(load_onnx(arguments.file), arguments.file)), indent=2))
    return 0


def _loader(arguments: argparse.Namespace) -> Load | None:
    """What tells the running server of a change; None where there is none. The one place that meets `serving`."""
    if arguments.server == "none":
        return None
    from serving import ModelControl, ServingError, read_state

    url = arguments.server
    if url == "auto":
        running = read_state()
        if running is None or Path(running.repository).resolve() != arguments.repository.resolve():
            return None
        url = running.grpc_url

    def load(model: str) -> None:
        try:
            with ModelControl(url) as control:
                control.load(model)
        except ServingError as error:
            raise PublishError(f"the server at {url} did not take {model}: {error}") from error

    return load


def _progress(name: str) -> Callable[[str], None]:
    """Progress is for eyes: a pipe gets none."""
    if not sys.stderr.isatty():
        return lambda _step: None
    return lambda step: _say(f"[{name}] {step}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
