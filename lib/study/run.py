"""Run a study: its notebooks in order through papermill, their reports, the index page and the record of the run."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from rich.console import Console

from lib import files, locations, paths, stage_records
from lib.data import archive, sources
from lib.data.members import ArchiveError
from lib.locations import LocationError, Url, place
from lib.params import Params, stage_parameters
from lib.reports.marks import mark
from lib.stages import STAGES
from lib.stages import before as stages_before
from lib.study import archive_changes, cache, kernels, notebook, retrain, served
from lib.study.record import history_line, read_metrics, run_record
from lib.text import flattened

# Exit codes.
FAILED = 1  # a stage failed, or the disk did
REFUSED = 2  # params, the archive or the command are wrong, or outputs cannot be written
LOCKED = 3  # another run holds the study

# Errors of `lib` that say what is wrong and what to do, and the exit code that they end a run with: the message names no cell.
_OF_USERS = {
    "QuarantineError": REFUSED,
    "ArchiveError": REFUSED,
    "LayoutError": REFUSED,
    "ShortPricesError": REFUSED,
    "LocationError": FAILED,
    "DatasetError": FAILED,
    "EngineError": FAILED,
}
LESS_MEMORY = "run with fewer workers (-p compute.workers 1), or on a machine with more"


class StudyError(RuntimeError):
    """A run that cannot start or go on.

    Parameters
    ----------
    message : str
        What the user reads: what is wrong, and what to do.
    code : int
        The command's exit code: `FAILED`, `REFUSED` or `LOCKED`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Options:
    """What to run.

    Parameters
    ----------
    start : str or None
        Run from this stage on, whatever the cache says.
    only : str or None
        Run this stage alone.
    force : bool
        Run every stage.
    explain : bool
        Say for each stage why it runs or not.
    wait : bool
        Wait for another run of the study instead of giving up.
    replace : bool
        Let ``overrides`` replace what a server serves.
    retrain : bool
        Train and evaluate anew where prices are newer, whatever ``run.retrain`` asks.
    scratch : bool
        The outputs will be deleted: do not tell the user to open them.
    command : str
        What the user typed to start this run, and would type to go on.
    update : str
        What they would type to bring the whole study up to date, with the same params.
    overrides : tuple of (str, str)
        The params that ``-p`` set, by key.
    """

    start: str | None = None
    only: str | None = None
    force: bool = False
    explain: bool = False
    wait: bool = False
    replace: bool = False
    retrain: bool = False
    scratch: bool = False
    command: str = "bash run_all.sh"
    update: str = "bash run_all.sh"
    overrides: tuple[tuple[str, str], ...] = ()

    @property
    def with_params(self) -> str:
        """The params that ``-p`` set, as an artifact says them: ``with -p features.window 30``; empty without any."""
        words = [word for key, value in self.overrides for word in ("-p", key, value)]
        return f"with {_without_folders(shlex.join(words))}" if words else ""


@dataclass
class StageRun:
    """One stage of a run, as `run.json` tells of it.

    Parameters
    ----------
    name : str
        A key of `lib.stages.STAGES`.
    status : {"run", "unchanged", "kept", "not asked for"}
        Kept: prices are newer, but ``run.retrain`` does not ask for it yet; forecasts are made by the saved models.
    seconds, peak_memory_bytes : float, int
        Of its last run.
    reasons : list of str
        Why it was run, or would be.
    key : str
        One digest of all that decides what it makes.
    """

    name: str
    status: str
    seconds: float
    peak_memory_bytes: int
    reasons: list[str] = field(default_factory=list)
    key: str = ""


def run_study(name: str, params: Params, options: Options, caller: Path | None = None) -> None:
    """Run a study.

    Parameters
    ----------
    name : str
        The study's name: its outputs go to ``outputs/NAME``.
    caller : pathlib.Path, optional
        The folder that a relative ``archive.source`` may also start at.

    Raises
    ------
    StudyError
        The archive is not one, another run holds the study, or a stage failed. Its text is what the user reads.
    """
    study = paths.StudyPaths(name)
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{study.folder}: cannot be made ({error.strerror}); is outputs/ writable?", REFUSED) from None
    with _disk_errors_reported(study, options), _locked(study, options.wait, console), kernels.environment():
        files.remove_unfinished(study.folder)
        try:
            params = _locate_archive(params, study, caller)
            _keep_what_is_served(params, study, options)
            _place_datasets(params, study)
            raw = _open_archive(params, study, caller, console)
        except (ArchiveError, LocationError) as error:
            raise StudyError(str(error), REFUSED) from None
        archive_digest = archive.fingerprint(raw)
        started = datetime.datetime.now(datetime.UTC)
        runs: list[StageRun] = []
        console.print(
            f"{name}: {len(raw.files) + len(raw.tables):,} price file{'' if len(raw.files) + len(raw.tables) == 1 else 's'}"
            + (f", {options.with_params}" if options.with_params else "")
        )
        for remark in raw.remarks():
            console.print(remark, markup=False)
        failure: StudyError | None = None
        for number, stage in enumerate(STAGES, start=1):
            title = f"[{number}/{len(STAGES)}]"
            finished = [run.name for run in runs if run.status == "run"]
            try:
                runs.append(_run_stage(stage, title, finished, params, study, raw, archive_digest, options, console))
            except StudyError as error:
                failure = error
            except OSError as error:
                failure = _failure(stage, study, _told(error), options)
            if stage == "01_ingest" and runs and runs[-1].status == "run":
                _say_what_was_read(study, console)
            if failure:
                break
        stale: list[str] = []
        try:
            told = str(failure).replace(options.command, "the same command") if failure else ""
            stale = _write_records(study, params, raw, runs, started, told, options)
        except OSError:
            if not failure:
                raise
        if failure:
            until = f"\n  out of date until then: {', '.join(stale)}" if stale else ""
            raise StudyError(f"{failure}{until}", failure.code)
        ran = [run.name for run in runs if run.status == "run"]
        done = f"{len(ran)} of {len(runs)} stages run" if ran else "nothing had changed"
        never = [stage for stage in STAGES if not study.stage_record(stage).exists()]
        rest = "kept or unchanged" if any(run.status == "kept" for run in runs) else "unchanged"
        done += f", the rest {rest}" if 0 < len(ran) < len(runs) and not stale and not never else ""
        console.print(f"done: {done}" + ("" if options.scratch else f". Open {_relative(study.index)}"))
        if never := [stage for stage in never if stage not in stale]:
            console.print(f"not run yet: {', '.join(never)}; to run them: {options.update}")
        if stale:
            console.print(f"out of date: {', '.join(stale)}; to run them: {options.update}")


def _keep_what_is_served(params: Params, study: paths.StudyPaths, options: Options) -> None:
    """Refuse ``-p`` on a served study unless ``--replace`` is given."""
    if options.replace or not options.overrides or not served.is_served(study):
        return
    try:
        last = flattened(files.read_json(study.run_record)["params"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        last = {}
    other = [key for key, value in flattened(params.model_dump()).items() if value != last.get(key)]
    set_here = [key for key, _ in options.overrides if key.partition(".")[0] not in ("compute", "run")]
    if changed := [key for key in set_here if any(f"{one}.".startswith(f"{key}.") for one in other)]:
        values = dict(options.overrides)
        told = " ".join(f"-p {key} {values[key]}" for key in changed)
        raise StudyError(
            f"{study.name}: a server is serving this study, and {told} would replace what it answers with\n"
            f"  to run into a copy: {options.update} --as {study.name}-copy\n"
            f"  to replace it: {options.command} --replace",
            REFUSED,
        )


def _place_datasets(params: Params, study: paths.StudyPaths) -> None:
    """Note where the datasets are, for the notebooks and for whoever reads the study later."""
    if params.run.datasets is None:
        study.datasets_url.unlink(missing_ok=True)
        return
    prefix = place(params.run.datasets) / study.name
    assert isinstance(prefix, Url), "the pattern of run.datasets"
    locations.check(prefix, writing=True)
    files.write_atomically(study.datasets_url, f"{prefix}\n")


def _open_archive(params: Params, study: paths.StudyPaths, caller: Path | None, console: Console) -> archive.Archive:
    """List the study's archive; Yahoo's is brought up to date first."""
    section = params.archive
    if section.source == "yahoo":
        from lib.data import yahoo

        symbols = yahoo.read_symbols(section.symbols, [caller or paths.ROOT, paths.ROOT])
        for remark in yahoo.update(study.archive, symbols, section.start):
            console.print(remark, markup=False)
    options = sources.reading_options(
        section.layout, section.columns, section.dates, section.decimal, section.volume, section.volume_unit
    )
    return sources.open_archive(section.source, study, section.follow_links, options, section.only_files)


def _say_what_was_read(study: paths.StudyPaths, console: Console) -> None:
    from lib.data import quarantine
    from lib.storage import dataset

    for remark in quarantine.remarks(dataset.open_dataset(study.files).read(quarantine.REMARKED)):
        console.print(remark, markup=False)


def _write_records(
    study: paths.StudyPaths,
    params: Params,
    raw: archive.Archive,
    runs: list[StageRun],
    started: datetime.datetime,
    failure: str,
    options: Options,
) -> list[str]:
    """Write the record of the run, its line in the history, and the pages, unless that would only change their times.

    Returns the stages that are out of date.
    """
    stages = [vars(run) for run in runs]
    stale = stage_records.out_of_date(study, {"stages": stages, "params": params.model_dump()})
    update = {"bring_up_to_date": _without_folders(options.update)}
    kept = stage_records.kept_notes(study)
    for stage in STAGES:
        stale_note = stage_records.note(study.name, stale.get(stage, ()), update)
        _refresh_page(stage, study, stale_note or kept.get(stage, ""))
    record = run_record(study, params, raw, stages, started)
    if options.with_params:
        record["overrides"] = options.with_params
    if failure:
        record["failure"] = notebook.without_paths(failure)
    if stale:
        record |= {"out_of_date": stale, **update}
    if kept:
        record["kept"] = kept
    files.write_atomically(study.run_record, json.dumps(record, indent=2) + "\n")
    before_it = study.history.read_bytes().rstrip(b"\n") + b"\n" if study.history.exists() else b""
    line = json.dumps(history_line(record)) + "\n"
    files.write_atomically(study.history, before_it.lstrip(b"\n") + line.encode())
    wanted = cache.index_ingredients(record)
    before = stage_records.read_record(study.page_record("index"))
    ran = any(run.status == "run" for run in runs)
    if ran or failure or cache.reasons_to_run(wanted, before, stage_records.digests([study.index], study)):
        from lib.reports.page import write_index

        write_index(study.name, record, read_metrics(study))
        made = stage_records.digests([study.index], study)
        stage_records.write_record(study.page_record("index"), stage_records.Record(wanted, made))
    return list(stale)


def _mark_out_of_date(study: paths.StudyPaths, options: Options) -> None:
    """Mark the pages of what is out of date from now on, since a stage is about to run: it may be killed."""
    stale = stage_records.out_of_date(study, {})
    if not stale:
        return
    update = {"bring_up_to_date": _without_folders(options.update)}
    for stage, reasons in stale.items():
        mark(study.report(stage), stage_records.note(study.name, reasons, update))
    told = (f"{stage} ({'; '.join(reasons)})" for stage, reasons in stale.items())
    mark(study.index, stage_records.note(study.name, told, update))


def _without_folders(command: str) -> str:
    """A command as an artifact says it: without the folders of this machine."""
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in shlex.split(command))


def _run_stage(
    stage: str,
    title: str,
    finished: list[str],
    params: Params,
    study: paths.StudyPaths,
    raw: archive.Archive,
    archive_digest: str,
    options: Options,
    console: Console,
) -> StageRun:
    record_path = study.stage_record(stage)
    every = "always" if options.retrain else params.run.retrain
    wanted = cache.ingredients(stage, params, study, archive_digest)
    before = stage_records.read_record(record_path)
    stages = list(STAGES)
    made = stage_records.artifacts(stage, study)
    reasons = cache.reasons_to_run(wanted, before, made)
    if options.only == stage or options.force:
        reasons = ["--only" if options.only == stage else "--force", *reasons]
    elif options.only:
        reasons = []
    elif options.start and stages.index(stage) >= stages.index(options.start):
        reasons = ["--from", *reasons]
    elif options.start:
        reasons = []
    elif before:
        kept = retrain.kept(stage, every, wanted, before, made, study)
        if kept:
            return _kept(stage, title, before, kept, reasons, study, options, console)
        if before.kept and not reasons and "forecasts" in STAGES[stage].makes:
            reasons = ["the forecasts are of days that the prices no longer have"]
        elif before.kept:
            before = replace(before, kept=None)
            stage_records.write_record(record_path, before)
    if not reasons:
        asked = not (options.only or options.start)
        console.print(f"{title} {stage:<12} {'unchanged' if asked else 'not asked for'}", style="dim")
        if options.explain and asked:
            console.print(f"{'':6}nothing it depends on has changed", style="dim")
        last = before or stage_records.Record({}, {})
        status = "unchanged" if asked else "not asked for"
        return StageRun(stage, status, last.seconds, last.peak_memory_bytes, [], last.key)
    if options.explain:
        for reason in reasons:
            told = archive_changes.told(raw, study) if reason == cache.ARCHIVE_CHANGED else reason
            console.print(f"{title} {stage}: {told}")
    if options.only or options.start:
        _check_inputs(stage, params, study, archive_digest, options)
    kernels.prepare(_training_follows(stage, every, study, options))
    # From here until the new record is written the stage counts as not run, whatever happens.
    record_path.unlink(missing_ok=True)
    _mark_out_of_date(study, options)
    begin = time.monotonic()
    if console.is_terminal:  # a kernel's bar needs the line: say what is running, then leave the terminal to it
        console.print(f"{title} {stage} running", end="\r")
    with _peak_memory() as peak:
        try:
            with _meanwhile(finished, study, _FORECASTING if finished and every != "always" else ()):
                _execute(stage, params, study, peak, options)
        except BaseException:  # the page shows the traceback
            _refresh_page(stage, study, executed=True)
            raise
    seconds = round(time.monotonic() - begin, 2)
    record = stage_records.Record(wanted, stage_records.artifacts(stage, study), seconds, peak.bytes)
    if STAGES[stage].retrained:
        record = replace(record, until=retrain.last_date(study), basis=retrain.basis(stage, study))
    stage_records.write_record(record_path, record)
    console.print(f"{title} {stage:<12} {seconds:6.1f} s  peak {peak.bytes / 2**20:,.0f} MiB")
    return StageRun(stage, "run", seconds, peak.bytes, reasons, record.key)


def _training_follows(stage: str, every: str, study: paths.StudyPaths, options: Options) -> bool:
    """Whether stages that train will probably run; False during the first stage, as many runs fail there."""
    trained = all(study.stage_record(name).exists() for name, row in STAGES.items() if row.retrained)
    return bool(stages_before(stage)) and not options.only and (every == "always" or not trained)


def _kept(
    stage: str,
    title: str,
    last: stage_records.Record,
    kept: stage_records.Kept,
    reasons: list[str],
    study: paths.StudyPaths,
    options: Options,
    console: Console,
) -> StageRun:
    """Skip a stage that ``run.retrain`` does not ask for yet; only the forecasts are made, by its saved models."""
    begin = time.monotonic()
    forecast = "forecasts" in STAGES[stage].makes and kept != last.kept
    if forecast:
        _forecast_again(stage, study, options)
    if kept != last.kept:
        last = replace(last, kept=kept, artifacts=stage_records.artifacts(stage, study))
        stage_records.write_record(study.stage_record(stage), last)
    until = datetime.date.fromisoformat(last.until)
    asked = f"days to {until}, as run.retrain: {kept.retrain} asks"
    if forecast:
        console.print(f"{title} {stage:<12} {time.monotonic() - begin:6.1f} s  by models of {asked}")
    else:
        console.print(f"{title} {stage:<12} kept: made from {asked}", style="dim")
    if options.explain:
        again = retrain.next_time(until, kept.retrain)
        console.print(f"{'':6}{'; '.join(reasons)}; it runs again once there are prices of {again}", style="dim")
    return StageRun(stage, "kept", last.seconds, last.peak_memory_bytes, reasons, last.key)


def _forecast_again(stage: str, study: paths.StudyPaths, options: Options) -> None:
    """Make the forecasts that follow newer prices with the saved models."""
    from lib.evaluation.latest import forecast_again
    from lib.storage.dataset import DatasetError

    try:
        forecast_again(study)
    except (DatasetError, ValueError) as error:
        raise _failure(stage, study, str(error), options) from None


def _check_inputs(stage: str, params: Params, study: paths.StudyPaths, archive_digest: str, options: Options) -> None:
    """Refuse a stage whose inputs were never made, or with other params: its notebook could only fail, or mislead.

    Code that has changed is no reason: who works on one stage need not run those before it.
    """
    for earlier in stages_before(stage):
        made = stage_records.artifacts(earlier, study)
        wanted = cache.ingredients(earlier, params, study, archive_digest)
        before = stage_records.read_record(study.stage_record(earlier))
        if before:
            before = replace(before, ingredients=cache.params_of(before.ingredients))
        reasons = cache.reasons_to_run(cache.params_of(wanted), before, made)
        if reasons:
            command = shlex.join([*shlex.split(options.update), "--from", earlier])
            raise StudyError(
                f"{stage} cannot run alone: it reads what {earlier} makes, and {reasons[0]}. Run from there: {command}",
                REFUSED,
            )


def _execute(stage: str, params: Params, study: paths.StudyPaths, peak: _Peak, options: Options) -> None:
    """Execute the stage's notebook into the study's folder; the traceback is kept in it when a cell fails."""
    with notebook.without_grammars():
        import papermill

        from lib.study import papermill_engine
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config
    from zmq import ZMQError

    target = study.notebook(stage)
    target.parent.mkdir(parents=True, exist_ok=True)
    running = target.with_name(f"_{target.name}")
    try:
        papermill.execute_notebook(
            # Papermill 2.7 fills in {} of paths: https://papermill.readthedocs.io/en/latest/usage-parameterize.html
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (paths.stage_notebook(stage), running)),
            parameters=stage_parameters(params, stage, study.name),
            engine_name=papermill_engine.NAME,
            kernel_name="python3",
            cwd=paths.ROOT,
            progress_bar=False,
            log_output=False,
            execution_timeout=params.run.stage_timeout,
            start_timeout=120,
            shutdown_kernel="immediate",  # its work is done: a large kernel takes more than a second to end by itself
            # Sockets of the file system, in this run's own folder: nobody else, nor another run, can speak to the kernel.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{os.environ['JUPYTER_RUNTIME_DIR']}/kernel"}}),
        )
        _keep(running, target)
    except PapermillExecutionError as error:
        code = _OF_USERS.get(error.ename, FAILED)
        why = (
            error.evalue
            if error.ename in _OF_USERS and error.evalue.strip()
            else f"cell {error.exec_count}: {error.ename}: {error.evalue}"
        )
        if error.ename.endswith("MemoryError"):  # pyarrow's is called ArrowMemoryError
            why += f"\n  {_held(peak)}: {LESS_MEMORY}"
        raise _failure(stage, study, why, options, code) from None
    except CellTimeoutError:
        limit = params.run.stage_timeout
        why = f"a cell took longer than run.stage_timeout, {limit} s; allow more with -p run.stage_timeout"
        raise _failure(stage, study, why, options) from None
    except DeadKernelError:
        why = f"its kernel died; {_held(peak)}. The likely cause is memory: {LESS_MEMORY}"
        raise _failure(stage, study, why, options) from None
    except (NoSuchKernel, RuntimeError, ZMQError) as error:
        raise _failure(stage, study, f"its kernel did not start: {error}", options) from None
    finally:
        with contextlib.suppress(OSError, ValueError):  # there is none, or the disk is full and it is no whole JSON
            _keep(running, target)


def _keep(running: Path, target: Path) -> None:
    """Make what papermill has written, all of it or up to a failure, the stage's executed notebook."""
    import nbformat

    try:
        executed = nbformat.read(running, as_version=4)
        files.write_atomically(target, nbformat.writes(notebook.normalised(executed)) + "\n")
    finally:
        running.unlink(missing_ok=True)


def _held(peak: _Peak) -> str:
    return f"the kernel and its workers held {peak.bytes / 2**20:,.0f} MiB at most"


def _failure(stage: str, study: paths.StudyPaths, what: str, options: Options, code: int = FAILED) -> StudyError:
    kept = [name for name in STAGES if list(STAGES).index(name) < list(STAGES).index(stage)]
    return StudyError(
        f"{stage} failed: {what}\n"
        f"  notebook, with the traceback: {_relative(study.notebook(stage))}\n"
        f"  kept: {', '.join(kept) or 'nothing'}; finished parts of datasets are kept too\n"
        f"  to go on, once it is fixed: {options.command}",
        code,
    )


def _refresh_page(stage: str, study: paths.StudyPaths, note: str = "", executed: bool = False) -> None:
    """Make the stage's HTML page, unless it is what its executed notebook, the note and the templates make of it.

    A notebook that was not ``executed`` just now, and is not as its stage left it, may hold anything: its page is only marked.
    """
    executed_notebook, page, record = study.notebook(stage), study.report(stage), study.page_record(stage)
    made = stage_records.read_record(study.stage_record(stage))
    digest = stage_records.digests([executed_notebook], study)
    if not digest or not (executed or (made and digest.items() <= made.artifacts.items())):
        if note and page.is_file():
            mark(page, note)
        return
    wanted = cache.page_ingredients(stage, study, note)
    before = stage_records.read_record(record)
    if cache.reasons_to_run(wanted, before, stage_records.digests([page], study)):
        from lib.reports.page import write_report

        write_report(executed_notebook, page, study.name, note)
        stage_records.write_record(record, stage_records.Record(wanted, stage_records.digests([page], study)))


_FORECASTING = ("lib.evaluation.latest", "exchange_calendars")  # two seconds of imports


@contextlib.contextmanager
def _meanwhile(finished: Sequence[str], study: paths.StudyPaths, modules: Sequence[str]) -> Iterator[None]:
    """Make the pages of finished stages, and import what forecasts need, while a notebook starts and leaves a core idle."""

    def make() -> None:
        with contextlib.suppress(OSError):  # `_write_records` tries again, and says what is wrong
            for stage in finished:
                _refresh_page(stage, study)
        for module in modules:
            importlib.import_module(module)

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    try:
        yield
    finally:
        maker.join()


@contextlib.contextmanager
def _disk_errors_reported(study: paths.StudyPaths, options: Options) -> Iterator[None]:
    """Report a full disk and the like in a sentence, like every other error that a user can fix."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{study.name}: {_told(error)}\n"
            f"  finished stages and parts are kept; to go on, once it is fixed: {options.command}",
            FAILED,
        ) from None


def _told(error: OSError) -> str:
    return f"{_relative(Path(str(error.filename)))}: {error.strerror}" if error.filename else str(error)


def _locate_archive(params: Params, study: paths.StudyPaths, caller: Path | None) -> Params:
    """Keep the archive's absolute path out of the notebooks: they get its name, and the environment the place."""
    os.environ.pop("STUDY_ARCHIVE", None)
    source = params.archive.source
    if source in ("sample", "kaggle", "yahoo"):
        return params
    url = place(source)
    if isinstance(url, Url):
        return _locate_objects(params, study, url)
    try:
        location = Path(source).expanduser()
        candidates = (
            [location] if location.is_absolute() else [(base or paths.ROOT) / location for base in (None, caller)]
        )
        found = next((candidate for candidate in candidates if candidate.exists()), candidates[0]).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a user without a home, a NUL
        raise StudyError(f"archive.source: {source!r} is no path of a folder or .zip ({error})", REFUSED) from None
    if written := _overlap(found, study):
        raise StudyError(
            f"archive.source: {_relative(found)} and {_relative(written)}, which a run of {study.name} writes and sweeps, are one "
            "inside the other: raw files would be lost. Move the archive elsewhere, such as data/, and name that",
            REFUSED,
        )
    if study.folder.resolve().is_relative_to(found):
        raise StudyError(
            f"archive.source: {_relative(found)} holds {_relative(study.folder)}, where a run of {study.name} puts its results: they would "
            "be read as raw files. Name the folder that holds nothing but the archive",
            REFUSED,
        )
    os.environ["STUDY_ARCHIVE"] = str(found)
    return params.model_copy(update={"archive": params.archive.model_copy(update={"source": found.name})})


def _locate_objects(params: Params, study: paths.StudyPaths, url: Url) -> Params:
    locations.check(url)
    datasets = study.datasets
    if isinstance(datasets, Url) and (url.is_relative_to(datasets) or datasets.is_relative_to(url)):
        raise StudyError(
            f"archive.source: {url} and {datasets}, where a run of {study.name} keeps its datasets, are one inside the other: parts would "
            "be read as raw files. Name another prefix as one of archive.source and run.datasets",
            REFUSED,
        )
    os.environ["STUDY_ARCHIVE"] = str(url)
    name = url.name or url.root.partition("://")[2]
    return params.model_copy(update={"archive": params.archive.model_copy(update={"source": name})})


def _overlap(location: Path, study: paths.StudyPaths) -> Path | None:
    """A folder that the study's run writes and that ``location`` lies in; or, for one that a link leads to, that lies in it."""
    folder = study.folder.resolve()
    if location.is_relative_to(folder):
        return study.folder
    for link in (path for path in (study.folder, *study.folder.iterdir()) if path.is_symlink()):
        written = link.resolve()
        if location.is_relative_to(written) or written.is_relative_to(location):
            return link
    return None


@contextlib.contextmanager
def _locked(study: paths.StudyPaths, wait: bool, console: Console) -> Iterator[None]:
    lock = FileLock(study.lock)
    holder = study.lock_holder
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = _holder(study.lock_holder)
        if not wait:
            raise StudyError(
                f"{study.name}: {who} is running this study; wait for it to end, or start with --wait", LOCKED
            ) from None
        console.print(f"{study.name}: waiting for {who}")
        lock.acquire()
    except OSError as error:
        raise StudyError(f"{study.folder}: cannot be written ({error.strerror}); is it read-only?", REFUSED) from None
    try:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()}, since {now},\n", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """Who holds the lock, from the file that says it; anything else than `_locked` writes there is not shown."""
    try:
        told = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        told = ""
    return told if re.fullmatch(r"process \d+, since \S+,", told, re.ASCII) else "another process"


@dataclass
class _Peak:
    """The most memory that this process's children have held together, in bytes."""

    bytes: int = 0


@contextlib.contextmanager
def _peak_memory() -> Iterator[_Peak]:
    peak, stop = _Peak(), threading.Event()
    others = set(psutil.Process().children())

    def watch() -> None:
        while not stop.wait(0.2):  # a look takes milliseconds, more where many processes run
            peak.bytes = max(peak.bytes, _memory(_own_children(others)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        _stop(_own_children(others))


def _own_children(others: set[psutil.Process]) -> list[psutil.Process]:
    """The kernels and their workers: all descendants of this process except ``others`` and their descendants.

    The kernels' fork server stays: it is the next kernel's too.
    """
    found, foreign = [], {other.pid for other in others} - {kernels.FORK_SERVER.pid}
    for child in psutil.Process().children(recursive=True):  # a parent before its children
        with contextlib.suppress(psutil.Error):
            if child.pid in foreign or child.ppid() in foreign:
                foreign.add(child.pid)
            elif child.pid != kernels.FORK_SERVER.pid:
                found.append(child)
    return found


def _memory(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _stop(processes: list[psutil.Process]) -> None:
    """Leave no kernel and no worker behind, however a stage ended."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=5)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _relative(path: Path) -> str:
    """A path as a user in the repository would type it."""
    return str(path.relative_to(paths.ROOT)) if path.is_relative_to(paths.ROOT) else str(path)


def stage_name(text: str) -> str:
    """The stage that ``text`` names, whole or by its number or its word: ``03_train``, ``03``, ``3`` or ``train``."""
    for stage in STAGES:
        number, _, word = stage.partition("_")
        if text in (stage, number, str(int(number)), word):
            return stage
    raise StudyError(f"no stage {text!r}; the stages are {', '.join(STAGES)}", REFUSED)
