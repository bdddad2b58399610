"""Object storage: the datasets of a disk, byte for byte, whatever is killed, runs twice or cannot be reached."""

from __future__ import annotations

import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import crash_run
import object_storage
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_files import ELSEWHERE, WRITERS, truth
from raw_archives import price_csv, write_archive

from lib import files, locations, paths, stage_records
from lib.compute.engine import Engine
from lib.data import archive, multi_symbol
from lib.data.ingest import ingest
from lib.data.members import ArchiveError
from lib.features.build import FeaturesPart, build_features
from lib.locations import ChangedError, LocationError
from lib.params import Params
from lib.stages import STAGES
from lib.storage import dataset
from lib.storage.dataset import DatasetError, cut, open_dataset

STUDY = paths.StudyPaths("crash")
FOLDERS = ("quarantine", "files", "prices", "features")
OLD = {f"stocks/{symbol}.csv": 40 for symbol in ("AA", "BB", "CC", "DD", "EE")}
NEW = {**OLD, "stocks/BB.csv": 50, "stocks/FF.csv": 45}
NEW["stocks/CC.csv"] = "Date,Open,High,Low,Close,Adj Close,Volume\n" + "2020-01-02,1,1,1,1,1,5\n" * 2
del NEW["stocks/AA.csv"]
NOBODY = "127.0.0.1:1"  # a reserved port, where nothing listens
KILLS = int(os.environ.get("STUDY_TEST_KILLS", "6"))  # of each kind


# Places.


@pytest.mark.parametrize(
    "text", ["s3://b/a/c", "gs://b/a/c", "abfs://b@account.dfs.core.windows.net/a/c", "abfss://b/a/c"]
)
def test_a_url_is_a_place_and_so_is_what_pathlib_makes_of_it(text):
    assert (
        str(locations.location(text))
        == str(locations.location(Path(text)))
        == str(locations.location(locations.location(text)))
        == text
    )
    assert locations.location(text).parent / "d/../e" == locations.location(text).with_name("e")
    assert locations.location(text).is_relative_to(locations.location(text).parent) and not locations.location(
        text
    ).is_relative_to(locations.location(f"{text}d"))


@pytest.mark.parametrize("text", ["data/archive.zip", "/data/s3", "C:/s3:/b", "https://host/path", "s3:"])
def test_everything_else_is_a_path(text):
    assert locations.location(text) == Path(text)


def test_an_object_is_replaced_only_where_it_is_what_was_read(bucket):
    at = locations.location(f"{bucket.url}/folder/a name with %, é and #")
    locations.replace(at, b"1", None)
    with pytest.raises(ChangedError):
        locations.replace(at, b"2", None)
    content, version = locations.read_version(at)
    assert bytes(content) == b"1"
    locations.replace(at, b"2", version)
    with pytest.raises(ChangedError, match="changed by somebody else"):
        locations.replace(at, b"3", version)
    assert bucket.contents() == {"folder/a name with %, é and #": b"2"}


def test_a_large_object_is_one_request_and_leaves_no_upload(bucket):
    locations.write(locations.location(f"{bucket.url}/large"), bytes(20_000_000))
    assert "-" not in bucket.client.head_object(Bucket=bucket.name, Key="large")["ETag"], "an upload in several parts"


def test_pieces_of_an_object(bucket):
    bucket.write("a", b"0123456789")
    for known in (None, 10):
        with locations.opened(locations.location(f"{bucket.url}/a"), known) as file:
            assert (file.size, file.read(3, 2), file.read(9, 8), file.read(1, 10), file.read(1, 99)) == (
                10,
                b"234",
                b"89",
                b"",
                b"",
            )


# What cannot be reached.


@pytest.fixture
def fresh_stores():
    """No client that was made for another environment."""
    locations._store.cache_clear()
    yield
    locations._store.cache_clear()


def test_a_missing_bucket_is_named(bucket):
    with pytest.raises(
        LocationError, match=r"^s3://no-such-bucket-here/x: no such bucket: make it, or correct the name$"
    ):
        locations.check(locations.location("s3://no-such-bucket-here/x"))
    with pytest.raises(LocationError, match="no such bucket"):
        locations.write(locations.location("s3://no-such-bucket-here/x"), b"")


@pytest.fixture
def requests_counted():
    """A server that refuses every request as S3 does, key and all, and the requests that it got."""
    got = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            got.append(self.path)
            answer = f"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>{object_storage.KEYS['AWS_ACCESS_KEY_ID']}</AWSAccessKeyId></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_PUT = do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()


def test_wrong_credentials_are_said_at_once_and_not_shown(bucket, requests_counted, monkeypatch):
    endpoint, got = requests_counted
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(LocationError, match="access denied: are these the right credentials") as caught:
        locations.check(locations.location(bucket.url))
    assert len(got) == 1
    assert caught.value.__suppress_context__
    assert not any(secret in str(caught.value) for secret in list(object_storage.KEYS.values())[:2])


def test_no_credentials_say_where_they_are_looked_for(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{NOBODY}")  # a machine without a role
    with pytest.raises(
        LocationError, match=r"no credentials: set them in the environment .* or give this machine a role"
    ):
        locations.check(locations.location(bucket.url))


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("gs://bucket/x", {"GCE_METADATA_HOST": NOBODY, "GCE_METADATA_IP": NOBODY}),
        (
            "abfs://container@account.dfs.core.windows.net/x",
            {"AZURE_MSI_ENDPOINT": f"http://{NOBODY}/metadata/identity/oauth2/token"},
        ),
        ("abfss://container/x", {}),
    ],
)
def test_google_and_azure_are_reached_by_the_same_door(url, environment, monkeypatch, tmp_path, fresh_stores):
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "AZURE_", "GCE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # where Google's tools keep credentials
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        LocationError, match=rf"^{url}: no credentials: set them .* GOOGLE_APPLICATION_CREDENTIALS, AZURE"
    ):
        locations.check(locations.location(url), writing=True)
    assert Params.model_validate({"run": {"datasets": url}}).run.datasets == url


def test_an_endpoint_that_does_not_answer_is_tried_twice(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{NOBODY}")
    with pytest.raises(
        LocationError, match=r"does not answer: is the network up, and the endpoint .AWS_ENDPOINT_URL. right\?"
    ):
        locations.check(locations.location(bucket.url))


def test_storage_without_conditions_is_refused(bucket, monkeypatch):
    monkeypatch.setattr(locations, "replace", lambda url, content, version: locations.write(url, content))
    with pytest.raises(LocationError, match="ignores the condition of a write"):
        locations.check(locations.location(bucket.url), writing=True)
    assert bucket.listed() == []


def test_credentials_of_a_profile(bucket, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text("[ours]\naws_access_key_id = a\naws_secret_access_key = b%c\n")
    (tmp_path / "config").write_text("[profile ours]\nregion = eu-west-3\n[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    assert locations._aws_profile() == {}, "the environment has everything"
    for name in object_storage.KEYS:
        monkeypatch.delenv(name)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b%c"}
    assert locations._aws_profile() == {"region": "eu-west-3", **keys}
    locations.check(locations.location(bucket.url), writing=True)
    monkeypatch.delenv("AWS_PROFILE")
    assert locations._aws_profile() == {"region": "eu-west-1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-p", "run.datasets", "s3://no-such-bucket-here/x"],
            "error: s3://no-such-bucket-here/x/sample: no such bucket",
        ),
        (["-p", "archive.source", "s3://no-such-bucket-here"], "error: s3://no-such-bucket-here: no such bucket"),
        (["-p", "run.datasets", "http://host/x"], "run.datasets is 'http://host/x'; allowed: text"),
    ],
)
def test_a_run_that_cannot_reach_its_storage_stops_before_any_stage(bucket, outputs, arguments, message):
    ran = subprocess.run(
        [sys.executable, "-m", "lib", "run", "sample", *arguments], cwd=paths.ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert message in ran.stderr
    assert not list(outputs.glob("sample/notebooks/*"))


# The same bytes.


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(dataset, "cut", partial(cut, most=2))


def on(outputs, monkeypatch, url=None):
    """Let the study be in these outputs, its datasets under a URL."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(outputs))
    if url:
        files.write_atomically(STUDY.datasets_url, f"{url}/crash\n")


def run(location, workers=1):
    engine = Engine(workers=workers)
    ingest(archive.list_archive(location), STUDY, 0.5, engine)
    build_features(STUDY, engine=engine, summarised=False)


def of_disk(folder):
    """Every file of the study's datasets, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".url"
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_datasets_on_object_storage_are_those_of_a_disk(bucket, tmp_path, monkeypatch, small_parts, workers):
    old, new = write_archive(tmp_path / "old", OLD), write_archive(tmp_path / "new", NEW)
    on(tmp_path / "disk", monkeypatch)
    for location in (old, new):
        run(location, workers)
    expected, whole = of_disk(STUDY.folder), open_dataset(STUDY.features).read()
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    for location in (old, new):
        run(location, workers)
    assert bucket.contents("crash/") == expected
    assert of_disk(STUDY.folder) == {}
    for path in open_dataset(STUDY.features).paths:  # as a task has them, or whoever makes a path of that
        part = next(part for part in open_dataset(STUDY.features).parts if part.file == path.name)
        texts = {str(path), str(Path(path))}
        assert len({bytes(dataset.StoredPart(text, part.sha256).content()) for text in texts}) == 1
        assert pq.read_schema(path) == whole.schema
    assert open_dataset(STUDY.features).read() == whole
    url = f"{bucket.url}/crash/features"
    assert pa.Table.from_pandas(pd.read_parquet(url), whole.schema, preserve_index=False) == whole
    assert pq.read_table(url) == whole


def test_what_has_not_changed_is_not_written_again(bucket, tmp_path, monkeypatch, small_parts):
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    run(write_archive(tmp_path / "old", OLD))
    written = []
    write = dataset._write
    monkeypatch.setattr(dataset, "_write", lambda folder, *rest: written.append(folder.name) or write(folder, *rest))
    run(tmp_path / "old")
    assert written == []
    run(write_archive(tmp_path / "changed", {**OLD, "stocks/BB.csv": 41}))
    assert written == ["quarantine", "files", "prices", "features"]


def test_a_damaged_object_is_never_read_as_right_and_made_again(bucket, tmp_path, monkeypatch, small_parts):
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    run(write_archive(tmp_path / "old", OLD))
    before = bucket.contents()
    for key in [key for key in before if key.endswith(".parquet") and "/part-00001" in key]:
        bucket.write(key, before[key][:-9] + b"!" + before[key][-8:])
        name = key.split("/")[1]
        with pytest.raises(DatasetError, match=r"s3://.*part-00001.*its bytes are not those that were written"):
            open_dataset(STUDY.datasets / name).read()
        run(tmp_path / "old")
        assert bucket.contents() == before
    for key in [key for key in before if "/part-00001" in key]:
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    run(tmp_path / "old")
    assert bucket.contents() == before


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ELSEWHERE])
def test_every_layout_is_read_from_object_storage(bucket, tmp_path, monkeypatch, name):
    monkeypatch.setattr(multi_symbol, "_PIECE", 1500)
    made = WRITERS[name](truth())
    options = {key: value for key, value in made.options.items() if key != "only_files"}
    for path, content in made.contents.items():
        files.write_atomically(tmp_path / "raw" / path, content)
    results = []
    for url, location in (
        (None, tmp_path / "raw"),
        (bucket.url, locations.location(bucket.upload(tmp_path / "raw", "raw"))),
    ):
        on(tmp_path / ("outputs" if url else "disk"), monkeypatch, url)
        if url:
            monkeypatch.setattr(multi_symbol, "_BATCH_ROWS", 7)
        listed = archive.list_archive(
            location, options=archive_options(options), only_files=made.options.get("only_files", "")
        )
        assert archive.fingerprint(listed) == archive.fingerprint(listed)
        found = ingest(listed, STUDY, 1.0, Engine(workers=1))
        results.append([one.digest for one in (found.prices, found.quarantine, found.files)])
    assert results[0] == results[1]
    assert not [key for key in bucket.listed() if ".staging" in key]


def archive_options(options):
    from lib.data.sources import reading_options

    return reading_options(**options)


@pytest.mark.parametrize("name", ["raw.zip", "prices.csv"])
def test_one_object_as_an_archive(bucket, tmp_path, monkeypatch, name):
    if name.endswith(".zip"):
        local = write_archive(tmp_path / name, OLD)
    else:
        local = tmp_path / name
        rows = pd.read_csv(write_archive(tmp_path / "one", OLD) / "stocks" / "AA.csv")
        pd.concat([rows.assign(Symbol=symbol) for symbol in ("AA", "BB")]).to_csv(local, index=False)
    on(tmp_path / "disk", monkeypatch)
    run(local)
    expected = of_disk(STUDY.folder)
    bucket.write(f"raw/{name}", local.read_bytes())
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    run(locations.location(f"{bucket.url}/raw/{name}"))
    assert bucket.contents("crash/") == expected


def test_a_changed_object_changes_the_archive(bucket, tmp_path):
    url = locations.location(bucket.upload(write_archive(tmp_path / "old", OLD), "raw"))
    before = archive.fingerprint(archive.list_archive(url))
    assert archive.fingerprint(archive.list_archive(url)) == before
    bucket.write("raw/stocks/AA.csv", price_csv("AB", 40).encode())
    assert archive.fingerprint(archive.list_archive(url)) != before


def test_nothing_under_a_prefix_is_said(bucket):
    with pytest.raises(ArchiveError, match="nothing is there"):
        archive.list_archive(locations.location(f"{bucket.url}/nothing"))


# Runs that are killed.


@pytest.fixture
def crash(bucket):
    """Answer a request of `crash_run`."""
    with crash_run.asking() as ask:
        yield ask


@pytest.fixture
def over(bucket, tmp_path, monkeypatch, crash):
    """The new archive; what the old one made on object storage, and what the new one then made; and at how many places that can die."""
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    assert crash(tmp_path / "outputs", write_archive(tmp_path / "old", OLD))["code"] == 0
    before = bucket.contents()
    ended = crash(tmp_path / "outputs", write_archive(tmp_path / "new", NEW))
    assert ended["code"] == 0
    return tmp_path / "new", before, bucket.contents(), ended["boundaries"]


def rows_of(contents):
    """The rows of each dataset, by what its folder holds."""
    keys = [key for key in contents if key.startswith("crash/") and not key.startswith("crash/.")]
    return {
        name: sum(
            pq.read_metadata(pa.BufferReader(contents[key])).num_rows for key in keys if key.split("/")[1] == name
        )
        for name in FOLDERS
    }


def assert_old_or_new(bucket, before, after):
    """Every dataset reads as the old or as the new one; a reader that knows no manifest does too, or fails."""
    for name in FOLDERS:
        digests = []
        for contents in (before, after):
            listed = json.loads(contents[f"crash/.{name}/manifest.json"])["parts"]
            digests.append([part["sha256"] for part in listed])
        found = open_dataset(STUDY.datasets / name)
        assert [part.sha256 for part in found.parts] in digests, name
        found.read()
        try:
            rows = pq.read_table(f"{bucket.url}/crash/{name}").num_rows
        except pa.ArrowInvalid as error:
            assert dataset.COMMITTING in str(error)
        else:
            assert rows in (rows_of(before)[name], rows_of(after)[name]), name


def test_a_run_killed_before_any_request_ends_the_same(bucket, over, crash, tmp_path):
    new, before, after, boundaries = over
    assert boundaries > 60
    for boundary in sorted(random.Random(1).sample(range(1, boundaries + 1), min(KILLS, boundaries))):
        bucket.make(before)
        assert crash(tmp_path / "outputs", new, boundary)["code"] == -signal.SIGKILL
        assert_old_or_new(bucket, before, after)
        assert crash(tmp_path / "outputs", new)["code"] == 0
        assert bucket.contents() == after


def test_a_first_run_killed_again_and_again(bucket, over, crash, tmp_path):
    new, _, after, boundaries = over
    bucket.make({})
    at = boundaries // 8
    kills = 0
    while (ended := crash(tmp_path / "outputs", new, at))["code"] == -signal.SIGKILL:
        kills += 1
        at += boundaries // 8
        for name in FOLDERS:
            keys = bucket.listed(f"crash/{name}/")
            if f"crash/.{name}/manifest.json" not in bucket.listed():
                assert not keys or f"crash/{name}/{dataset.COMMITTING}" in keys
    assert ended["code"] == 0
    assert kills >= 4
    assert bucket.contents() == after


def test_runs_with_two_workers_killed_at_any_time(bucket, over, tmp_path):
    new, before, after, _ = over
    command = [sys.executable, crash_run.__file__, str(new), "2"]
    chance, killed = random.Random(2), 0
    bucket.make(before)
    started = time.monotonic()
    subprocess.run(command, check=True)
    duration = time.monotonic() - started
    for _ in range(20):
        if killed == max(2, KILLS // 3):
            break
        bucket.make(before)
        with subprocess.Popen(command) as running:
            time.sleep(duration * chance.uniform(0.4, 0.95))
            running.kill()
        killed += running.returncode == -signal.SIGKILL
        duration *= 0.8 if running.returncode == 0 else 1.0  # the machine is less busy than it was
        assert_old_or_new(bucket, before, after)
        subprocess.run(command, check=True)
        assert bucket.contents() == after
    assert killed


# Two runs at once.


def begun(location):
    """A run of features up to its commit."""
    source = open_dataset(STUDY.prices)
    works = [FeaturesPart(part, 30, 30, False) for part in source.stored]
    folders = {"features": STUDY.features}
    return dataset.build("", works, [1] * len(works), "", folders, location, Engine(workers=1)), folders


def test_of_two_runs_at_once_one_commits(bucket, tmp_path, monkeypatch, small_parts):
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    run(write_archive(tmp_path / "old", OLD))
    first, folders = begun("one code")
    second, _ = begun("another code")
    dataset.commit(second, folders)
    committed = bucket.contents()
    with pytest.raises(
        DatasetError, match="another run has committed this dataset since this one began; see that it is"
    ):
        dataset.commit(first, folders)
    assert bucket.contents() == committed
    again, _ = begun("one code")
    dataset.commit(again, folders)
    assert {part.key for part in open_dataset(STUDY.features).parts} == {result.key for result in again.parts}
    assert len(bucket.listed("crash/features/")) == len(again.parts)


def test_the_same_run_twice_at_once_ends_well(bucket, tmp_path, monkeypatch, small_parts):
    on(tmp_path / "outputs", monkeypatch, bucket.url)
    run(write_archive(tmp_path / "old", OLD))
    (first, folders), (second, _) = begun("the code"), begun("the code")
    dataset.commit(second, folders)
    committed = bucket.contents()
    dataset.commit(first, folders)
    assert bucket.contents() == committed


def test_two_processes_at_once_leave_the_dataset_of_one(bucket, over, tmp_path):
    new, before, after, _ = over
    other = write_archive(tmp_path / "other", {**NEW, "stocks/GG.csv": 44})
    bucket.make(before)
    subprocess.run([sys.executable, crash_run.__file__, str(other), "1"], check=True)
    of_other = bucket.contents()
    ended = []
    for _ in range(2):
        bucket.make(before)
        running = []
        for number, location in enumerate((new, other)):
            outputs = tmp_path / f"outputs-{number}"
            shutil.copytree(tmp_path / "outputs", outputs, dirs_exist_ok=True)
            running.append(
                subprocess.Popen(
                    [sys.executable, crash_run.__file__, str(location), "1"],
                    env={**os.environ, "STUDY_OUTPUTS": str(outputs)},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for process in running:
            output = process.communicate()[1]
            ended.append(process.returncode)
            assert process.returncode == 0 or "another run has committed" in output or "run the stage" in output
        for name in FOLDERS:  # each whole, and of one of them
            found = open_dataset(STUDY.datasets / name)
            found.read()
            key = f"crash/.{name}/manifest.json"
            digests = [[p["sha256"] for p in json.loads(c[key])["parts"]] for c in (before, after, of_other)]
            assert [part.sha256 for part in found.parts] in digests
    assert 0 in ended
    subprocess.run([sys.executable, crash_run.__file__, str(new), "1"], check=True)
    assert bucket.contents() == after


# The whole study.


def test_the_whole_sample_study(bucket, sample_outputs, tmp_path, monkeypatch):
    command = [sys.executable, "-m", "lib", "run", "-p", "run.datasets", f"{bucket.url}/studies"]
    monkeypatch.setenv("STUDY_OUTPUTS", str(sample_outputs))
    local = paths.StudyPaths("sample")
    folder, records = local.folder, {stage: stage_records.read_record(local.stage_record(stage)) for stage in STAGES}
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    study = paths.StudyPaths("sample")
    assert str(study.prices) == f"{bucket.url}/studies/sample/prices"
    for stage in STAGES:
        made = stage_records.read_record(study.stage_record(stage))
        assert (made.key, made.artifacts) == (records[stage].key, records[stage].artifacts)
    stored = bucket.contents("studies/sample/")
    assert {key.split("/")[0].removeprefix(".") for key in stored} == {
        *("prices", "quarantine", "files", "features", "recent", "feature_counts", "date_counts"),
        *("walk_forward", "forecasts", "forecast_sums"),
    }
    for key, content in stored.items():
        assert content == (folder / key).read_bytes(), key
        assert not (study.folder / key).exists()
    secrets = [object_storage.KEYS["AWS_SECRET_ACCESS_KEY"], object_storage.KEYS["AWS_ACCESS_KEY_ID"]]
    for path in study.folder.rglob("*"):
        assert not path.is_file() or not any(secret.encode() in path.read_bytes() for secret in secrets), path
    assert stage_records.notes(study) == {}
    again = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert "nothing had changed" in again.stderr
    part = next(key for key in bucket.listed("studies/sample/features/"))
    bucket.client.delete_object(Bucket=bucket.name, Key=part)
    again = subprocess.run([*command, "--explain"], cwd=paths.ROOT, capture_output=True, text=True)
    assert "output features is missing" in again.stderr
    assert bucket.contents("studies/sample/") == stored
