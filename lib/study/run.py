"""Run a study: its notebooks in order through papermill, their reports, the index page and the record of the run."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from lib import files, locations, paths, stage_records
from lib.data import archive
from lib.data.members import ArchiveError
from lib.locations import LocationError, Url
from lib.params import Params
from lib.reports.marks import mark
from lib.stages import STAGES
from lib.stages import before as stages_before
from lib.study import archive_changes, archive_source, cache, execution, kernels, notebook, retrain, served
from lib.study.errors import FAILED, REFUSED, StudyError
from lib.study.lock import locked
from lib.study.record import history_line, read_metrics, run_record
from lib.text import flattened


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
    caller : pathlib.Path, optional
        The folder that a relative ``archive.source`` may also start at.

    Raises
    ------
    StudyError
        The archive is not one, the study is already running, or a stage failed. Its text is what the user reads.
    """
    study = paths.StudyPaths(name)
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{study.folder}: cannot be made ({error.strerror}); is outputs/ writable?", REFUSED) from None
    with _disk_errors_reported(study, options), locked(study, options.wait, console), kernels.environment():
        files.remove_unfinished(study.folder)
        try:
            params = archive_source.locate(params, study, caller)
            _keep_what_is_served(params, study, options)
            _place_datasets(params, study)
            raw = archive_source.open_archive(params, study, caller, console)
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
                failure = _failure(stage, study, _message(error), options)
            if stage == "01_ingest" and runs and runs[-1].status == "run":
                _say_what_was_read(study, console)
            if failure:
                break
        stale: list[str] = []
        try:
            message = str(failure).replace(options.command, "the same command") if failure else ""
            stale = _write_records(study, params, raw, runs, started, message, options)
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
        rest = "not asked for" if options.only or options.start else rest
        done += f", the rest {rest}" if 0 < len(ran) < len(runs) and not stale and not never else ""
        console.print(f"done: {done}" + ("" if options.scratch else f". Open {paths.as_typed(study.index)}"))
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
        arguments = " ".join(f"-p {key} {values[key]}" for key in changed)
        raise StudyError(
            f"{study.name}: a server is serving this study, and {arguments} would replace what it answers with\n"
            f"  to run into a copy: {options.update.partition(' --as ')[0]} --as {study.name}-copy\n"
            f"  to replace it: {options.command} --replace",
            REFUSED,
        )


def _place_datasets(params: Params, study: paths.StudyPaths) -> None:
    """Note where the datasets are, for the notebooks and for whoever reads the study later."""
    if params.run.datasets is None:
        study.datasets_url.unlink(missing_ok=True)
        return
    prefix = locations.location(params.run.datasets) / study.name
    assert isinstance(prefix, Url), "the pattern of run.datasets"
    locations.check(prefix, writing=True)
    files.write_atomically(study.datasets_url, f"{prefix}\n")


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
        digests = stage_records.digests([study.index], study)
        stage_records.write_record(study.page_record("index"), stage_records.Record(wanted, digests))
    return list(stale)


def _mark_out_of_date(study: paths.StudyPaths, options: Options) -> None:
    """Mark the pages of what is out of date from now on, since a stage is about to run: it may be killed."""
    stale = stage_records.out_of_date(study, {})
    if not stale:
        return
    update = {"bring_up_to_date": _without_folders(options.update)}
    for stage, reasons in stale.items():
        mark(study.report(stage), stage_records.note(study.name, reasons, update))
    reasons_by_stage = (f"{stage} ({'; '.join(reasons)})" for stage, reasons in stale.items())
    mark(study.index, stage_records.note(study.name, reasons_by_stage, update))


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
    artifacts = stage_records.artifacts(stage, study)
    reasons = cache.reasons_to_run(wanted, before, artifacts)
    if options.only == stage or options.force:
        reasons = ["--only" if options.only == stage else "--force", *reasons]
    elif options.only:
        reasons = []
    elif options.start and stages.index(stage) >= stages.index(options.start):
        reasons = ["--from", *reasons]
    elif options.start:
        reasons = []
    elif before:
        kept = retrain.kept(stage, every, wanted, before, artifacts, study)
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
            text = archive_changes.summary(raw, study) if reason == cache.ARCHIVE_CHANGED else reason
            console.print(f"{title} {stage}: {text}")
    if options.only or options.start:
        _check_inputs(stage, params, study, archive_digest, options)
    kernels.prepare(_training_follows(stage, every, study, options))
    # From here until the new record is written the stage counts as not run, whatever happens.
    record_path.unlink(missing_ok=True)
    _mark_out_of_date(study, options)
    begin = time.monotonic()
    if console.is_terminal:  # a kernel's bar needs the line: say what is running, then leave the terminal to it
        console.print(f"{title} {stage} running", end="\r")
    with execution.peak_memory() as peak:
        try:
            with _meanwhile(finished, study, _FORECASTING if finished and every != "always" else ()):
                execution.execute(stage, params, study, peak)
        except BaseException as error:
            _refresh_page(stage, study, executed=True)  # it shows the traceback
            if isinstance(error, StudyError):
                raise _failure(stage, study, str(error), options, error.code) from None
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
    asked = f"data up to {until} (run.retrain: {kept.retrain})"
    if forecast:
        console.print(f"{title} {stage:<12} {time.monotonic() - begin:6.1f} s  by models based on {asked}")
    else:
        console.print(f"{title} {stage:<12} kept: based on {asked}", style="dim")
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
        artifacts = stage_records.artifacts(earlier, study)
        wanted = cache.ingredients(earlier, params, study, archive_digest)
        before = stage_records.read_record(study.stage_record(earlier))
        if before:
            before = replace(before, ingredients=cache.params_of(before.ingredients))
        reasons = cache.reasons_to_run(cache.params_of(wanted), before, artifacts)
        if reasons:
            command = shlex.join([*shlex.split(options.update), "--from", earlier])
            raise StudyError(
                f"{stage} cannot run alone: it reads what {earlier} makes, and {reasons[0]}. Run from there: {command}",
                REFUSED,
            )


def _failure(stage: str, study: paths.StudyPaths, what: str, options: Options, code: int = FAILED) -> StudyError:
    kept = [name for name in STAGES if list(STAGES).index(name) < list(STAGES).index(stage)]
    return StudyError(
        f"{stage} failed: {what}\n"
        f"  notebook, with the traceback: {paths.as_typed(study.notebook(stage))}\n"
        f"  kept: {', '.join(kept) or 'nothing'}; finished parts of datasets are kept too\n"
        f"  to continue once this is fixed: {options.command}",
        code,
    )


def _refresh_page(stage: str, study: paths.StudyPaths, note: str = "", executed: bool = False) -> None:
    """Make the stage's HTML page, unless it is what its executed notebook, the note and the templates make of it.

    A notebook that was not ``executed`` just now, and is not as its stage left it, may hold anything: its page is only marked.
    """
    executed_notebook, page, record = study.notebook(stage), study.report(stage), study.page_record(stage)
    stage_record = stage_records.read_record(study.stage_record(stage))
    digest = stage_records.digests([executed_notebook], study)
    if not digest or not (executed or (stage_record and digest.items() <= stage_record.artifacts.items())):
        if note and page.is_file():
            mark(page, note)
        return
    wanted = cache.page_ingredients(stage, study, note)
    before = stage_records.read_record(record)
    if cache.reasons_to_run(wanted, before, stage_records.digests([page], study)):
        from lib.reports.page import write_report

        write_report(executed_notebook, page, study.name, note)
        stage_records.write_record(record, stage_records.Record(wanted, stage_records.digests([page], study)))


_FORECASTING = ("lib.evaluation.latest",)  # more than a second of imports


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
            f"{study.name}: {_message(error)}\n"
            f"  finished stages and parts are kept; to continue once this is fixed: {options.command}",
            FAILED,
        ) from None


def _message(error: OSError) -> str:
    return f"{paths.as_typed(Path(str(error.filename)))}: {error.strerror}" if error.filename else str(error)


def stage_name(text: str) -> str:
    """The stage that ``text`` names, whole or by its number or its word: ``03_train``, ``03``, ``3`` or ``train``."""
    for stage in STAGES:
        number, _, word = stage.partition("_")
        if text in (stage, number, str(int(number)), word):
            return stage
    raise StudyError(f"no stage {text!r}; the stages are {', '.join(STAGES)}", REFUSED)
