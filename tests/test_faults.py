"""What goes wrong in a run: the exit code, what the user is told, no process left, and the next run ends as if nothing had."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import nbformat
import pytest
from filelock import FileLock
from short_study import Place, Run, write_notebooks
from tools import lacking

from lib import files, paths
from lib.stages import STAGES
from lib.study import execution

SHARES = 4  # the random moments are shared among as many tests, for two workers of the suite to run
GOES_ON = "to continue once this is fixed: bash run_all.sh {params} -p compute.workers 1"


def run_twice(folder):
    place = Place(folder).make()
    assert Run(place).end()[0] == 0
    started = time.monotonic()  # the first run of all has also started the process that forks
    assert Run(place, "--force").end()[0] == 0
    (folder / "seconds").write_text(str(time.monotonic() - started))


@pytest.fixture(scope="module")
def reference(made_once):
    """A finished study, its artifacts, and the seconds that it took; not to be changed."""
    place = Place(made_once("reference", run_twice))
    return place, place.artifacts(), float((place.base / "seconds").read_text())


@pytest.fixture
def place(reference, tmp_path):
    """The finished study in a folder of its own."""
    return reference[0].copy(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        lacking(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def assert_mended(place, reference):
    """The next run ends well, with the artifacts of a run that nothing happened to, and leaves nothing else."""
    code, output = Run(place).end()
    assert code == 0, output
    assert place.artifacts() == reference[1]
    assert not list(place.outputs.rglob("*.tmp"))
    assert not list(place.outputs.rglob("notebooks/_*"))


MEMORY = "blocks = []\nwhile True:\n    blocks.append(b'1' * 2**24)"
FAULTS = {
    # the code of a cell, what the command line adds, bytes of memory, what is said
    "exception": ("1 / 0", (), 0, ["cell 7: ZeroDivisionError: division by zero"]),
    "exit": ("import os; os._exit(3)", (), 0, ["its kernel died", "MiB at most", "-p compute.workers 1"]),
    "killed": ("import os; os.kill(os.getpid(), 9)", (), 0, ["its kernel died", "MiB at most", "-p compute.workers 1"]),
    "memory": (MEMORY, (), 2 << 30, ["cell 7: MemoryError", "MiB at most", "-p compute.workers 1"]),
    "timeout": (
        "import time; time.sleep(600)",
        ("-p", "run.stage_timeout", "4"),
        0,
        ["a cell took longer than run.stage_timeout, 4 s; allow more with -p run.stage_timeout"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_stage_stops_the_run_and_says_how_to_go_on(place, reference, fault):
    code, arguments, memory, messages = FAULTS[fault]
    # Behind the cells that make the stage's artifacts: what is there is whole, and must not count as finished.
    write_notebooks(place.notebooks, {"02_features": code})
    ended, output = Run(place, "-p", "features.window", "20", *arguments, memory=memory).end()
    assert ended == 1
    assert "error: 02_features failed: " in output
    goes_on = f"{GOES_ON.format(params=place.params)} -p features.window 20"
    for message in [*messages, "kept: 01_ingest", goes_on, "01_ingest    unchanged"]:
        assert message in output, output
    assert f"[3/{len(STAGES)}]" not in output
    assert "Traceback" not in output
    assert place.left_behind() == []
    study = place.outputs / "short"
    executed = (study / "notebooks" / "02_features.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(executed, as_version=4)
    nbformat.validate(notebook)
    assert any(cell.source == code for cell in notebook.cells), "the notebook that the user is sent to is of this run"
    if fault == "exception":
        assert "ZeroDivisionError" in executed
        assert str(paths.ROOT) not in executed
        assert str(place.base) not in executed
        assert "ZeroDivisionError" in (study / "reports" / "02_features.html").read_text(encoding="utf-8")
    record = json.loads((study / "run.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in record["stages"]] == ["01_ingest"]
    assert "02_features failed" in record["failure"]
    assert "The last run of this study failed." in (study / "index.html").read_text(encoding="utf-8")
    write_notebooks(place.notebooks)
    assert_mended(place, reference)
    assert "failed" not in (study / "index.html").read_text(encoding="utf-8")


def test_a_refused_archive_ends_with_the_code_of_what_only_the_user_can_mend(tmp_path):
    place = Place(tmp_path).make()
    for path in (tmp_path / "archive").rglob("stocks/*.csv"):
        path.write_text(path.read_text(encoding="utf-8").replace(".", ","), encoding="utf-8")
    ended, output = Run(place).end()
    assert ended == 2
    assert "\nerror: 01_ingest failed: no price is left: 201 raw rows were read" in output
    assert not re.search(r"\bcell\b", output) and "QuarantineError" not in output
    record = json.loads((place.outputs / "short" / "run.json").read_text(encoding="utf-8"))
    assert record["failure"].startswith("01_ingest failed: ")


def test_prices_that_are_too_short_are_told_without_a_cell(tmp_path):
    place = Place(tmp_path).make()
    drawing = "from lib.evaluation.sample import draw_rows\nfrom lib.paths import StudyPaths\nfrom lib.storage.dataset import open_dataset\n"
    write_notebooks(place.notebooks, {"03_train": f"{drawing}draw_rows(open_dataset(StudyPaths(study).features), [0])"})
    ended, output = Run(place, "-p", "features.window", "1000").end()
    assert ended == 2
    assert re.search(
        r"\nerror: 03_train failed: the prices are too short: no symbol has more than \d+ rows, ", output
    ), output
    assert "provide a longer price history, a year or more, or lower features.window\n" in output
    assert not re.search(r"\bcell\b", output) and "ShortPricesError" not in output


def test_the_errors_that_users_mend_are_those_of_lib():
    found = {
        name for path in paths.LIB.rglob("*.py") for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE)
    }
    assert set(execution._OF_USERS) <= found


def moments(share, of, seed):
    """``of`` random shares of a run's duration, spread over all of it; those of this ``share`` of the tests."""
    chance = random.Random(seed)
    return [(number + chance.random()) / of for number in range(of)][share::SHARES]


@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_terminated_at_a_random_moment(reference, tmp_path, share):
    for number, moment in enumerate(moments(share, 20, seed=1)):
        # A first run and, in turn, one over what an earlier one has made.
        base = tmp_path / str(number)
        place = reference[0].copy(base)
        if number % 2:
            shutil.rmtree(place.outputs)
        run = Run(place, "--force")
        time.sleep(moment * reference[2])
        run.process.terminate()
        ended, output = run.end()
        # Before it has begun Python itself ends it; one that had ended was not terminated.
        assert ended in (143, -signal.SIGTERM, 0)
        if ended == 143:
            assert output.endswith("the same command continues from there\n"), output
            assert "Traceback" not in output
        assert place.left_behind() == []
        assert_mended(place, reference)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_interrupted_or_killed_outright(place, reference, number):
    ends = []
    for moment in moments(0, 2 * SHARES, seed=number):
        run = Run(place, "--force")
        # The machine may have become faster since the reference run.
        time.sleep(0.3 + 0.6 * moment * reference[2])
        with contextlib.suppress(ProcessLookupError):  # the machine has become faster, and the run has ended
            os.kill(run.process.pid, number)
        ended, output = run.end()
        ends.append(ended)
        assert ended in ((130, 0) if number == signal.SIGINT else (-signal.SIGKILL, 0))
        if ended == 130:
            assert output.endswith("the same command continues from there\n"), output
        # The next run starts at once: nothing of the one before may still be writing.
        assert_mended(place, reference)
        assert place.left_behind() == []
    assert any(ends), "every run had ended before its signal"


def used(disk):
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_full_disk(reference, small_disk):
    place = reference[0].copy(small_disk)
    needed = used(small_disk)
    room = 8 << 20
    assert 200_000 < needed < room // 2
    filler = small_disk / "filler"
    failures = []
    for share in (0.01, 0.3, 0.7):
        shutil.rmtree(place.outputs)
        filler.write_bytes(bytes(room - used(small_disk) - int(share * needed)))
        ended, output = Run(place).end()
        assert ended == 1, output
        assert "No space left on device" in output
        assert GOES_ON.format(params=place.params) in output
        assert "Traceback" not in output
        assert place.left_behind() == []
        failures.append(output)
        filler.unlink()
        assert_mended(place, reference)
    assert len({failure.count("] 0") for failure in failures}) > 1, "the disk was full at the same stage each time"


@pytest.mark.parametrize("made", [False, True], ids=["no study yet", "a study"])
def test_outputs_that_cannot_be_written(reference, small_disk, tmp_path, made):
    place = reference[0].copy(small_disk)
    if not made:
        shutil.rmtree(place.outputs)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = sorted(small_disk.rglob("*"))
    ended, output = Run(Place(small_disk), output=tmp_path / "output.txt").end()
    assert ended == 2
    assert "(Read-only file system)" in output
    assert len(output.strip().splitlines()) == 1
    assert sorted(small_disk.rglob("*")) == before
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_mended(place, reference)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink], ids=["changed", "truncated", "deleted"])
def test_outputs_changed_by_hand_between_runs(place, reference, damage):
    study = place.outputs / "short"
    by_stage = {
        "01_ingest": [".prices/manifest.json", "files/*.parquet", "notebooks/01_ingest.ipynb"],
        "02_features": ["features/*.parquet", "symbols.safetensors"],
        "03_train": ["model/grid.safetensors"],
        "04_evaluate": ["metrics.json"],
        "05_forecast": ["forecast_metrics.json"],
    }
    # One artifact of every kind, all at once: each stage says what it misses, and the pages are made again too.
    damaged = {stage: [next(study.glob(name)) for name in names] for stage, names in by_stage.items()}
    for path in [*(path for found in damaged.values() for path in found), study / "reports" / "03_train.html"]:
        damage(path)
    (study / "model" / "stray.npz").write_bytes(b"not of this run")
    ended, output = Run(place, "--explain").end()
    assert ended == 0, output
    word = "is missing" if damage is os.unlink else "was changed"
    for stage, found in damaged.items():
        for path in found:
            # A part's name says nothing: the dataset's does.
            name = (path.parent if path.suffix == ".parquet" else path).relative_to(study).as_posix()
            assert f"{stage}: output {name} {word}" in output.replace("[", "").replace("]", ""), output
    assert "output model/stray.npz is not of this run" in output
    (study / "model" / "stray.npz").unlink()
    assert_mended(place, reference)


def test_what_a_killed_run_left_is_swept(place, reference):
    left = place.outputs / "short" / "model" / "_model.skops.0123.tmp"
    left.write_bytes(b"half a file")
    ended, output = Run(place).end()
    assert ended == 0
    assert output.count("unchanged") == len(STAGES)
    assert not left.exists()


def test_a_damaged_record_of_the_last_run_is_made_again(place, reference):
    record = place.outputs / "short" / paths.StudyPaths("short").run_record.name
    whole = json.loads(record.read_text(encoding="utf-8"))
    files.write_atomically(record, record.read_bytes()[:100])
    assert_mended(place, reference)
    assert json.loads(record.read_text(encoding="utf-8"))["archive"] == whole["archive"]


def shown(place, name):
    """What a page of the study says at its head."""
    text = (place.outputs / "short" / name).read_text(encoding="utf-8")
    return text.split("<!-- status -->")[1].split("<!-- end of status -->")[0]


def test_what_is_out_of_date_is_marked_and_the_last_line_says_what_to_run(place, reference):
    ended, output = Run(place, "--only", "03_train", "-p", "train.seed", "7").end()
    assert ended == 0, output
    command = f"bash run_all.sh {place.params} -p compute.workers 1 -p train.seed 7"
    assert output.splitlines()[-1] == f"out of date: 04_evaluate; to run them: {command}"
    reason = "model has been regenerated since; train.seed was 42 here and is 7 in 03_train"
    assert f"Out of date: {reason}. To bring it up to date: bash run_all.sh short.yaml" in shown(
        place, "reports/04_evaluate.html"
    )
    assert f"04_evaluate ({reason})" in shown(place, "index.html")
    assert shown(place, "reports/03_train.html") == shown(place, "reports/02_features.html") == ""
    record = json.loads((place.outputs / "short" / "run.json").read_text(encoding="utf-8"))
    assert record["out_of_date"] == {"04_evaluate": reason.split("; ")}
    assert str(place.base) not in json.dumps(record)
    assert_mended(place, reference)
    assert not any(shown(place, f"reports/{stage}.html") for stage in STAGES)
    assert shown(place, "index.html") == ""


def test_a_stage_is_not_run_alone_on_inputs_of_other_params(place, reference):
    ended, output = Run(place, "--only", "02_features", "-p", "features.window", "20").end()
    assert ended == 0, output
    ended, output = Run(place, "--only", "03_train").end()
    assert ended == 2
    reason = "it reads what 02_features makes, and features.window 20 -> 30"
    command = f"bash run_all.sh {place.params} -p compute.workers 1 --from 02_features"
    assert f"error: 03_train cannot run alone: {reason}. Run from there: {command}" in output.splitlines()
    assert_mended(place, reference)


def test_a_study_that_began_with_one_stage_says_which_have_not_run(place):
    shutil.rmtree(place.outputs / "short")
    ended, output = Run(place, "--only", "02_features").end()
    assert ended == 2
    assert "02_features cannot run alone: it reads what 01_ingest makes, and it has not run yet" in output
    ended, output = Run(place, "--only", "01_ingest").end()
    assert ended == 0, output
    assert "the rest unchanged" not in output
    assert output.splitlines()[-1].startswith(f"not run yet: {', '.join([*STAGES][1:])}; to run them: bash run_all.sh")


def test_metrics_that_were_edited_are_not_believed(place, reference):
    (place.outputs / "short" / "metrics.json").write_text('{"mae": "x", "headline": 3}')
    ended, output = Run(place, "--only", "01_ingest").end()
    assert ended == 0, output
    assert "Model's error" not in (place.outputs / "short" / "index.html").read_text(encoding="utf-8")
    assert_mended(place, reference)


def test_a_killed_run_leaves_what_is_out_of_date_marked(place, reference):
    write_notebooks(place.notebooks, {"02_features": "import psutil; psutil.Process().parents()[1].kill()"})
    ended, _ = Run(place, "-p", "features.window", "20").end()
    assert ended == -signal.SIGKILL
    assert place.left_behind() == []
    assert shown(place, "reports/01_ingest.html") == ""
    for stage in ("02_features", "03_train", "04_evaluate"):
        assert "Out of date" in shown(place, f"reports/{stage}.html")
    assert "02_features (its last run did not finish)" in shown(place, "index.html")
    write_notebooks(place.notebooks)
    assert_mended(place, reference)
    assert shown(place, "index.html") == ""


def test_a_failed_run_says_what_is_out_of_date(place):
    write_notebooks(place.notebooks, {"02_features": "1 / 0"})
    ended, output = Run(place).end()
    assert ended == 1
    later = ", ".join([*STAGES][1:])
    assert output.endswith(f"  out of date until then: {later}\n"), output


def test_rows_and_digest_of_the_record_are_counted_anew(place):
    path = place.outputs / "short" / "run.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for edited in (
        {"rows": {"read": 1}, "archive": {**whole["archive"], "digest": "0" * 64}},
        {"rows": 7, "archive": []},
    ):
        path.write_text(json.dumps({**whole, **edited}), encoding="utf-8")
        ended, output = Run(place).end()
        assert ended == 0, output
        found = json.loads(path.read_text(encoding="utf-8"))
        assert (found["rows"], found["archive"]) == (whole["rows"], whole["archive"])


@pytest.mark.parametrize("link", ["", "link to it", "link in the outputs"])
def test_an_archive_inside_the_studys_outputs_is_refused(place, tmp_path, link):
    study, raw = place.outputs / "short", place.outputs / "short" / "raw"
    shutil.copytree(reference_archive(place), raw)
    source = raw
    if link == "link to it":
        source = tmp_path / "raw"
        source.symlink_to(raw)
    elif link:
        source = tmp_path / "elsewhere"
        raw.rename(source)
        shutil.rmtree(study / "prices")
        (study / "prices").symlink_to(source / "stocks")
    before = {path: path.read_bytes() for path in source.rglob("*.csv")}
    ended, output = Run(place, "-p", "archive.source", str(source)).end()
    assert ended == 2
    assert "raw files would be lost" in output and "Move the archive elsewhere" in output
    assert before and all(path.read_bytes() == content for path, content in before.items())


def test_an_archive_around_the_studys_outputs_is_refused(place):
    for source in (place.outputs, place.outputs.parent, "/"):
        ended, output = Run(place, "--only", "01_ingest", "-p", "archive.source", str(source)).end()
        assert ended == 2
        assert "they would be read as raw files. Name the folder that holds nothing but the archive" in output


def reference_archive(place):
    return next(line.split(": ")[1] for line in place.params.read_text().splitlines() if "source" in line)


def test_folders_of_killed_runs_are_swept_and_no_others(place):
    made = {}
    for name in ("killed", "running", "starting", "anothers"):
        folder = made[name] = paths.sockets() / f"study-test-{os.getpid()}-{name}"
        folder.mkdir(mode=0o755 if name == "anothers" else 0o700)
        files.write_atomically(folder / ".lock", "")
        if name != "starting":
            files.write_atomically(folder / "profile_default" / "ipython_kernel_config.py", "")
    try:
        with FileLock(made["running"] / ".lock"):
            assert Run(place).end()[0] == 0
        assert {name for name, folder in made.items() if folder.exists()} == {"running", "starting", "anothers"}
    finally:
        for folder in made.values():
            shutil.rmtree(folder, ignore_errors=True)


def test_outputs_and_files_with_the_names_that_libraries_read_as_markup(reference, tmp_path):
    place = reference[0].copy(tmp_path / "{x} [bold] :smile:")
    stray = place.outputs / "short" / "prices" / "[" / "x].parquet"
    files.write_atomically(stray, "not of this run")
    ended, output = Run(place, "--explain", output=tmp_path / "told.txt").end()
    assert ended == 0, output
    assert "01_ingest: output prices/[/x].parquet is not of this run" in output
    assert "{x} [bold] :smile:" in output
    shutil.rmtree(stray.parent)
    assert_mended(place, reference)


JSON_DAMAGE = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"ingredients": [], "artifacts": null}']


@pytest.mark.parametrize("damage", JSON_DAMAGE, ids=lambda damage: repr(damage[:12]))
def test_damaged_records_only_mean_that_it_runs_again(place, reference, damage):
    study = place.outputs / "short"
    for path in [
        *study.glob("stages/*.json"),
        *study.glob(".*/manifest.json"),
        study / "run.json",
        study / "metrics.json",
    ]:
        path.write_bytes(damage)
    for name in ("history.jsonl", ".lock_holder"):
        (study / name).write_bytes(damage)
    ended, output = Run(place, "--only", "03_train").end()
    assert "Traceback" not in output, output
    assert ended == 2
    assert "03_train cannot run alone: it reads what 01_ingest makes, and it has not run yet" in output
    assert_mended(place, reference)
