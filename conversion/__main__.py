"""Command line: `python -m conversion convert | preflight | releases | rollback | validate | info`.

Exit codes: 0 done, 1 an error that has no code of its own, 2 wrong use of the command line, 3 model.toml, 4 the model's
files, 5 export, 6 the graph cannot be served, 7 parity, 8 broken ONNX file, 9 publishing, 10 the converting process
died, 12 the target would not serve the release, 130 interrupted. Where several models fail, the first failure gives the
code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from .bench_table import bench, write
from .bench_table import table as bench_table
from .environments import Environments
from .errors import ConversionError, PublishError
from .graph import describe, load_onnx, validate_file
from .pipeline import Outcome, convert
from .preflight_table import preflight, table
from .profiles import PROFILES
from .repository import Load, Repository
from .spec import LEVELS
from .spec_reader import SPEC_FILE, read_spec
from .targets import require_targets

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

    def with_build(added: argparse.ArgumentParser) -> None:
        added.add_argument("--build", type=Path, default=Path("build"), help="folder for work and logs (%(default)s)")

    added = command("convert", _convert, "convert models and publish what has changed")
    added.add_argument("folders", nargs="*", type=Path, help="folders with a model.toml (every one in models/)")
    with_repository(added)
    with_server(added)
    with_build(added)
    added.add_argument("--target", help="the Triton release to publish for (that of model.toml)")
    added.add_argument("--preflight", action="store_true", help="load the graph in the target's ONNX Runtime first")
    added.add_argument("--force", action="store_true", help="convert even where nothing has changed")
    added.add_argument("--new-interface", action="store_true", help="accept inputs or outputs that break callers")
    added.add_argument("--search", choices=LEVELS, help="how much is tried: off, fast or full (that of model.toml)")
    added = command("bench", _bench, "measure published twins against their originals anew, on this machine")
    added.add_argument("folders", nargs="*", type=Path, help="folders with a model.toml (every one in models/)")
    with_repository(added)
    with_build(added)
    added.add_argument("--batch-sizes", nargs="+", type=int, default=[], help="batch sizes (those of the model's spec)")
    added.add_argument("--profile", choices=sorted(PROFILES), default="cpu", help="where both run (%(default)s)")
    added.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where to write (%(default)s)")
    added = command("preflight", _preflight, "check served releases against Triton releases and their ONNX Runtime")
    added.add_argument("names", nargs="*", metavar="name", help="public names of models (all)")
    added.add_argument("--target", nargs="+", action="extend", default=[], help="Triton releases (its own)")
    with_repository(added)
    with_build(added)
    added = command("releases", _releases, "list the releases of every model, and which one is served")
    added.add_argument("name", nargs="?", help="one model (all)")
    with_repository(added)
    added = command("rollback", _rollback, "serve an earlier release again (or any other one)")
    added.add_argument("name", help="the model's public name")
    added.add_argument("--to", type=int, metavar="N", help="the release to serve (the one before the served one)")
    with_repository(added)
    with_server(added)
    added = command("validate", _validate, "check that a file is a valid ONNX model that ONNX Runtime loads")
    added.add_argument("file", type=Path, help="an .onnx file")
    added = command("info", _info, "print the inputs, outputs, opset and operators of an ONNX file as JSON")
    added.add_argument("file", type=Path, help="an .onnx file")
    return parser


def _convert(arguments: argparse.Namespace) -> int:
    folders = _folders(arguments)
    if not folders:
        return 2
    repository = Repository(arguments.repository)
    load = _loader(arguments)
    require_targets([arguments.target] if arguments.target else [])
    environments = _environments(arguments) if arguments.preflight else None
    first = 0
    for folder in folders:
        name = folder.resolve().name
        try:
            outcome = convert(
                read_spec(folder, arguments.target, arguments.search),
                repository,
                build_folder=arguments.build.resolve(),
                report=_progress(name),
                force=arguments.force,
                load=load,
                new_interface=arguments.new_interface,
                environments=environments,
            )
        except ConversionError as error:
            _say(f"error: {error}")
            first = first or error.exit_code
            continue
        print(_told(outcome))
    _tell_missing(environments)
    return first


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """The folders named, or all there are; an empty list after saying that there is none."""
    folders = arguments.folders or sorted(path.parent for path in _DEFAULT_MODELS.glob(f"*/{SPEC_FILE}"))
    if not folders:
        _say(f"error: no model given, and no {SPEC_FILE} below {_DEFAULT_MODELS}/; name a folder with a {SPEC_FILE}")
    return folders


def _bench(arguments: argparse.Namespace) -> int:
    entries = {}
    for folder in _folders(arguments):
        spec = read_spec(folder)
        entries[spec.name] = bench(
            spec,
            Repository(arguments.repository.resolve()),
            build_folder=arguments.build.resolve(),
            sizes=arguments.batch_sizes,
            profile=arguments.profile,
            report=_progress(spec.name),
        )
    if not entries:
        return 2
    write(entries, arguments.output, arguments.profile, ["python", "-m", "conversion", *sys.argv[1:]])
    print(bench_table(entries))
    return 0


def _told(outcome: Outcome) -> str:
    evidence = outcome.evidence
    if outcome.unchanged:
        serving = "" if outcome.served == outcome.version else f", release {outcome.served} is served"
        return f"{outcome.name}: unchanged, release {outcome.version} holds it{serving}"
    worst = ", ".join(f"{name} {figures['max_abs']:.2g}" for name, figures in evidence["parity"]["worst"].items())
    lines = [
        f"{outcome.name}: release {outcome.version} published ({evidence['search']['chosen']}); "
        f"worst difference: {worst}"
    ]
    for size, found in evidence["speed"]["batches"].items():
        low, high = found["ratio_quartiles"]
        lines.append(
            f"  {size:>4} rows: original {found['original_ms']:.3g} ms, twin {found['twin_ms']:.3g} ms: "
            f"{found['ratio']:.2f} times as fast (quartiles {low:.2f} to {high:.2f})"
        )
    accuracy = evidence["accuracy"]
    if accuracy is not None:
        low, high = accuracy["interval"]
        lines.append(
            f"  {accuracy['metric']}: original {accuracy['original']:.2%}, twin {accuracy['twin']:.2%}, loss "
            f"{accuracy['loss']:.2%} (95 % interval {low:.2%} to {high:.2%}, {accuracy['items']} items)"
        )
    if not evidence["search"]["wins"]:
        lines.append("  no candidate is faster than the original, which is asked first")
    return "\n".join(lines)


def _preflight(arguments: argparse.Namespace) -> int:
    require_targets(arguments.target)
    environments = _environments(arguments)
    rows = preflight(
        Repository(arguments.repository), arguments.names, arguments.target, environments, _progress("preflight")
    )
    print(table(rows))
    _tell_missing(environments)
    failures = [row.failure for row in rows if row.failure]
    for failure in failures:
        _say(f"error: {failure}")
    return failures[0].exit_code if failures else 0


def _environments(arguments: argparse.Namespace) -> Environments:
    return Environments(arguments.build.resolve() / "preflight")


def _tell_missing(environments: Environments | None) -> None:
    for missing in environments.missing.values() if environments else ():
        _say(f"note: {missing}")


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
