"""The command line: ``python -m lib run`` and its sisters; ``run_all.sh`` and ``serve.sh`` call it."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import shlex
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import FrameType

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # The imports below take a second: a Ctrl-C then ends in a sentence too. `main` sets its own handler.
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted before anything was run\n"), os._exit(130)))

from lib import locations, paths
from lib import params as study_params
from lib.data.members import ArchiveError
from lib.locations import LocationError
from lib.serving import launch, terminal_forecast
from lib.study.errors import FAILED, REFUSED, StudyError
from lib.text import printable

EXIT_CODES = """\
exit codes: 0 done; 1 a stage failed, the disk is full, or --reproduce found a difference; 2 wrong params, archive or
command, or outputs cannot be written; 3 the study is already running; 129 the terminal was closed;
130 interrupted (Ctrl-C); 143 terminated"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parsed(words)
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # the terminal was closed; nohup ignores that
        signal.signal(signal.SIGHUP, _terminated)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # it is ignored in the background
        signal.signal(signal.SIGINT, _interrupted)
    try:
        if options.command == "run":
            return _look(options) if options.look else _run(options, words[1:])
        if options.command == "compare":
            return _compare(options.runs)
        if options.command == "lock":
            return _lock(options.study)
    except (StudyError, study_params.ParamsError, ArchiveError, LocationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code if isinstance(error, StudyError) else REFUSED
    except KeyboardInterrupt:
        message = "interrupted; finished stages and parts are kept: the same command continues from there"
        print(message if options.command == "run" and not options.look else "interrupted", file=sys.stderr)
        return 130
    if options.command == "forecast":
        return terminal_forecast.main(options)
    return launch.main(options)


def _parsed(words: list[str]) -> argparse.Namespace:
    """The command line's options; a wrong one ends the program with the usage of the command that was typed."""
    parser, commands = parsers()
    # argparse takes two words for -p; people write one, `-p features.window=20`, as often.
    split: list[str] = []
    for word in words:
        assignment = split[-1:] == ["-p"] and "=" in word
        split += word.split("=", 1) if assignment else [word]
    options, unknown = parser.parse_known_args(split)
    if unknown:
        commands[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command == "run" and options.name and not options.look and len(options.studies) > 1:
        commands["run"].error("--as names the outputs of one study")
    if options.command == "run" and options.name and not options.look and not options.studies:
        commands["run"].error(
            f"--as {options.name} needs the name of the study to run, such as bash run_all.sh sample --as {options.name}; for prices of your own, first: "
            f"bash run_all.sh --look PATH --as {options.name}"
        )
    return options


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole command line, and that of each command."""
    parser = argparse.ArgumentParser(prog="python -m lib", description="Run, and serve, studies of daily market data.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        prog="bash run_all.sh",
        help="run a study",
        description="Run a study: raw prices to datasets, a model and reports, in outputs/STUDY.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "studies",
        nargs="*",
        metavar="STUDY",
        help="a study's name (params/STUDY.yaml) or the path of a params file; sample unless named",
    )
    run.add_argument(
        "-p",
        dest="overrides",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="set a param for this run, such as: -p features.window 20 (or features.window=20); several values, "
        "10,20,30, make one study each",
    )
    run.add_argument("--from", dest="start", metavar="STAGE", help="run from this stage on, such as 03_train")
    run.add_argument("--only", metavar="STAGE", help="run this stage alone")
    run.add_argument("--force", action="store_true", help="run every stage, changed or not")
    run.add_argument("--explain", action="store_true", help="explain for each stage why it runs or not")
    run.add_argument(
        "--reproduce", action="store_true", help="run it again in a scratch folder and compare every artifact's bytes"
    )
    run.add_argument(
        "--look",
        metavar="PATH",
        help="describe the files at PATH and how they would be read, from a sample; runs nothing",
    )
    run.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        help="run into outputs/NAME, a study of its own, whatever -p sets; with --look: write params/NAME.yaml, ready to run",
    )
    run.add_argument(
        "--replace", action="store_true", help="let -p replace the results of a study that a server is serving"
    )
    run.add_argument("--wait", action="store_true", help="wait for another run of the study to end")
    compare = commands.add_parser(
        "compare",
        help="compare studies, or runs of one",
        description="Show two or more studies side by side, as a table and as a page in outputs/.",
    )
    compare.add_argument(
        "runs", nargs="+", metavar="STUDY", help="a study's last run; or STUDY@N, its N-th (1 the first, -1 the last)"
    )
    lock = commands.add_parser(
        "lock",
        help="keep a study's results as those expected",
        description="Write params/STUDY.lock.json from the finished study: what --reproduce and the tests then expect of it.",
    )
    lock.add_argument(
        "study", nargs="?", default="sample", metavar="STUDY", help="the study's name; sample unless named"
    )
    launch.add_arguments(
        commands.add_parser(
            "serve",
            prog="bash serve.sh",
            help="serve a study",
            description="Serve a study: the dashboard, the reports, and the endpoint of predictions and forecasts. Ctrl-C stops all.",
        )
    )
    terminal_forecast.add_arguments(
        commands.add_parser(
            "forecast",
            help="print the latest forecasts of symbols",
            description="Print the latest forecasts of one or more symbols, in words and numbers.",
        )
    )
    return parser, commands.choices


def _run(options: argparse.Namespace, words: list[str]) -> int:
    from lib.study import run

    caller = Path(os.environ.get("STUDY_CALLER") or Path.cwd())
    given = [("-p", key, value) for key, value in options.overrides]
    copy = ["--as", options.name] if options.name else []
    chosen = run.Options(
        start=run.stage_name(options.start) if options.start is not None else None,
        only=run.stage_name(options.only) if options.only is not None else None,
        force=options.force,
        explain=options.explain,
        wait=options.wait,
        replace=options.replace,
        update=shlex.join(["bash", "run_all.sh", *options.studies, *itertools.chain(*given), *copy]),
        # --force would not go on, but begin again.
        command=shlex.join(["bash", "run_all.sh", *(word for word in words if word != "--force")]),
    )
    # Every params file is checked before the first study starts.
    studies = []
    for named in options.studies or ["sample"]:
        path = _params_path(named, caller)
        for suffix, overrides in study_params.grid(options.overrides):
            name = (_copy_name(options.name) if options.name else study_params.study_name(path)) + suffix
            studies.append((name, study_params.load(path, overrides), tuple(overrides)))
    for name, params, set_for_it in studies:
        chosen = replace(chosen, overrides=set_for_it)
        if options.reproduce:
            from lib.study import reproduce

            again = reproduce.reproduce(name, params, chosen, caller)
            expected = reproduce.compare_with_lock(name, params)
            print(f"{name}: reproduced: {again}")
            if expected:
                print(f"{name}: as expected by {paths.results_lock(name).name}: {expected}")
            if not again.equal or (expected and not expected.equal):
                return FAILED
        else:
            run.run_study(name, params, chosen, caller)
    if len(studies) > 1 and not options.reproduce:
        return _compare([name for name, *_ in studies])
    return 0


def _copy_name(name: str) -> str:
    """The name that ``--as`` gives a study's outputs, which no params file may have."""
    path = paths.params_file(name)
    try:
        taken = path.exists()
    except (OSError, ValueError) as error:  # too long, or a NUL
        raise study_params.ParamsError(f"--as {name}: not a valid study name ({error})") from None
    if "/" in name:
        raise study_params.ParamsError(f"--as {name}: must be a name, not a path; the results go to outputs/NAME")
    if taken:
        raise study_params.ParamsError(f"--as {name}: {path} is a separate study; choose another name")
    return study_params.study_name(path)


def _look(options: argparse.Namespace) -> int:
    from lib.data import look, sources

    caller = Path(os.environ.get("STUDY_CALLER") or Path.cwd())
    location = locations.location(options.look)
    source = str(location)
    if isinstance(location, Path):
        given = location.expanduser()
        location = next((path for path in (caller / given, paths.ROOT / given) if path.exists()), caller / given)
        whole = location.resolve()
        source = paths.as_typed(whole)
    path = paths.params_file(options.name or "look")
    study_params.study_name(path)
    if options.name and path.exists():
        raise ArchiveError(f"{path}: already exists; choose a name other than {options.name}, or remove it")
    params = study_params.with_overrides(path, options.overrides)
    section = params.archive
    found = look.look(
        location,
        sources.reading_options(
            section.layout, section.columns, section.dates, section.decimal, section.volume, section.volume_unit
        ),
        section.follow_links,
        section.only_files,
    )
    if not found.readable and not (found.undecided and options.name):
        several = len(found.lines) > 1  # a description of what is there, and not the one reason
        cause = [f"{printable(source)}: no price file here can be read"] if several else []
        print("error: " + "\n".join([*cause, *found.lines]), file=sys.stderr)
        return REFUSED
    print("\n".join(found.lines))
    if options.name:
        chosen = params.model_dump(exclude_defaults=True, exclude={"archive": {"source"}})
        written = look.write_params(options.name, source, found, chosen)
        command = f"bash run_all.sh {options.name}"
        if found.undecided:
            print(f"wrote {written}; choose archive.{found.undecided} in it, and then run it: {command}")
        elif found.refused:
            print(f"wrote {written}; a run would stop because of the problems above; fix them first. Then: {command}")
        else:
            print(f"wrote {written}; run it: {command}")
    return 0


def _compare(runs: list[str]) -> int:
    from rich.console import Console

    from lib.study import compare

    tables = compare.comparison([compare.read_run(run) for run in runs])
    compare.show(tables, Console(highlight=False, markup=False, emoji=False))
    print(f"Open {compare.write_page(tables, runs)}")
    return 0


def _lock(name: str) -> int:
    from lib.study import reproduce

    path = _params_path(name, Path.cwd())
    print(f"wrote {reproduce.write_lock(study_params.study_name(path), study_params.load(path))}")
    return 0


def _params_path(named: str, caller: Path) -> Path:
    """The params file that a word of the command line means: a study's name, or a path.

    Raises
    ------
    ParamsError
        It is the path of something else, most likely of prices; or there is no such study.
    """
    is_path = named.endswith((".yaml", ".yml")) or "/" in named
    try:
        given = Path(named).expanduser()
        found = next((path for path in (caller / given, paths.ROOT / given) if path.exists()), None)
        is_study = not is_path and paths.params_file(named).exists()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a user without a home, a NUL
        raise study_params.ParamsError(f"{named}: not a path of a params file ({error})") from None
    if is_study:
        return paths.params_file(named)
    if found and found.suffix not in (".yaml", ".yml"):
        raise study_params.ParamsError(
            f"{named}: a study is named by its params file, NAME.yaml. If these are prices, this looks at them and writes one: "
            f"bash run_all.sh --look {shlex.quote(named)} --as NAME"
        )
    if not is_path:
        raise study_params.ParamsError(paths.no_study(named, to_run=True))
    return found or given


def _interrupted(number: int, frame: FrameType | None) -> None:
    _forget_coroutines()
    raise KeyboardInterrupt


def _terminated(number: int, frame: FrameType | None) -> None:
    # As an exception, so that kernels, workers and the lock are let go on the way out; a second signal must not stop that.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    _forget_coroutines()
    print("terminated; finished stages and parts are kept: the same command continues from there", file=sys.stderr)
    raise SystemExit(128 + number)


def _forget_coroutines() -> None:
    # A signal may come between the making of nbclient's coroutine and its start; that is no news to who sent it.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    logging.disable(logging.CRITICAL)  # nor is nbclient's word that its kernel has died


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
