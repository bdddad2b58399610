"""What training saves: the same bytes under every Python, and nothing else than a model comes back."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import estimators, study_rows
from sklearn.linear_model import LinearRegression

from lib import paths
from lib.models import skops_file, store
from lib.models.predictor import Predictor
from lib.models.ratio_by_quantile import RatioByQuantile
from lib.models.regressor import TableRegressor
from lib.paths import StudyPaths


def saved(study: StudyPaths, estimator: TableRegressor, X: Any, dates: Any) -> dict[str, bytes]:
    measured = {"mae": 90.0, "mae_moving_average": 100.0, "mae_scaled_average": 95.0, "coverage": 0.8}
    information = store.describe(estimator, X, dates, 0, 30, "2010-01-04", "d" * 64, measured)
    store.save(study, estimator, information)
    return {path.name: path.read_bytes() for path in sorted(study.model.iterdir())}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path))
    return StudyPaths("trial")


@pytest.mark.parametrize("estimator", estimators(), ids=str)
def test_the_table_answers_as_the_estimator_on_random_and_boundary_inputs(
    study: StudyPaths, estimator: TableRegressor
) -> None:
    X, y, dates = study_rows(3000)
    fitted = estimator.fit(X, y)
    saved(study, fitted, X, dates)
    predictor = Predictor.load(study.grid)
    random = np.random.default_rng(1)
    edges = np.meshgrid([*fitted.table_.volume_edges, 1.0], [*fitted.table_.price_edges, 1.0])
    at_edges = np.array(edges).reshape(2, -1).T
    anywhere = np.column_stack([np.exp(random.uniform(0, 25, 20_000)), random.normal(0, 500, 20_000)])
    anywhere[::100, 0] = 0
    for inputs in (at_edges, np.nextafter(at_edges, 0), np.nextafter(at_edges, np.inf), anywhere):
        volumes, prices = inputs.T
        assert (predictor.predict(volumes, prices) == np.rint(fitted.predict(inputs))).all()
        low, high = fitted.predict_interval(inputs)
        served_low, served_high = predictor.predict_interval(volumes, prices)
        assert (served_low == np.floor(low)).all()
        assert (served_high == np.ceil(high)).all()


@pytest.mark.parametrize("estimator", estimators(), ids=str)
def test_an_estimator_comes_back_from_its_file(study: StudyPaths, estimator: TableRegressor) -> None:
    X, y, _ = study_rows(1000)
    fitted = estimator.fit(X, y)
    store.write_estimator(study.estimator, fitted)
    back = store.read_estimator(study.estimator)
    assert type(back) is type(fitted)
    assert back.get_params() == fitted.get_params()
    assert (back.predict(X) == fitted.predict(X)).all()
    assert study.estimator.stat().st_size < 1_000_000


def test_a_file_with_other_types_is_refused(tmp_path: Path) -> None:
    class Stranger(LinearRegression):  # type: ignore[misc]
        pass

    Stranger.__module__, Stranger.__qualname__ = "elsewhere", "Stranger"
    skops_file.skops.io.dump(Stranger().fit([[1.0]], [1.0]), tmp_path / "model.skops")
    with pytest.raises(ValueError, match=r"model\.skops: holds elsewhere\.Stranger; allowed"):
        store.read_estimator(tmp_path / "model.skops")
    skops_file.skops.io.dump(LinearRegression().fit([[1.0]], [1.0]), tmp_path / "model.skops")
    with pytest.raises(ValueError, match=r"holds sklearn\.linear_model\._base\.LinearRegression; allowed: lib\."):
        store.read_estimator(tmp_path / "model.skops")


@given(st.dictionaries(st.from_regex(r"[a-z0-9._/]{1,30}", fullmatch=True), st.binary(max_size=200), max_size=8))
def test_a_zip_of_our_own_is_one_that_zipfile_reads(members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(skops_file.stored_zip(members))) as archive:
        assert archive.testzip() is None
        assert {member.filename: archive.read(member) for member in archive.infolist()} == members
        assert archive.namelist() == list(members)
        assert all(member.compress_type == zipfile.ZIP_STORED and not member.extra for member in archive.infolist())


def test_the_saved_file_names_no_address_and_no_time(study: StudyPaths) -> None:
    X, y, _ = study_rows(500)
    store.write_estimator(study.estimator, RatioByQuantile().fit(X, y))
    with zipfile.ZipFile(study.estimator) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        assert all(len(name) < 12 for name in names)
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


SCRIPT = """
import sys
import numpy as np
sys.path[:0] = [{tests!r}, {support!r}]
from model_rows import estimators, study_rows
from test_store import saved
from evaluation_rows import by_symbol, evaluated, stored
from lib.evaluation.rows import Rows
from lib.evaluation.verdict import metrics_json
from lib.paths import StudyPaths
X, y, dates = study_rows(3000)
for number, estimator in enumerate(estimators()):
    saved(StudyPaths(str(number)), estimator.fit(X, y), X, dates)
symbol = np.arange(3000, dtype=np.int32) % 7
rows = Rows(list("ABCDEFG"), symbol, dates, X, y, y, 0)
found = evaluated(stored(StudyPaths("0").features, *by_symbol(rows)), estimators()[0], rows)
table = found.comparisons[0, "chronological"]
StudyPaths("0").metrics.write_text(metrics_json(table, [], {{"spread": found.spread}}))
"""


def test_the_bytes_do_not_depend_on_the_run_or_the_threads(tmp_path: Path) -> None:
    made = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
        environment = os.environ | dict.fromkeys(names, threads) | {"STUDY_OUTPUTS": str(tmp_path / threads)}
        environment["PYTHONHASHSEED"] = threads
        code = SCRIPT.format(tests=str(Path(__file__).parent), support=str(paths.ROOT / "tests" / "support"))
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=paths.ROOT)
        files = (path for path in (tmp_path / threads).rglob("*") if path.is_file())
        made.append({path.relative_to(tmp_path / threads).as_posix(): path.read_bytes() for path in files})
    assert len(made[0]) == 3 * len(estimators()) + 1 + 7  # models, metrics, and a part of features for each symbol
    assert made[0] == made[1]


def test_the_information_is_that_of_the_training_rows(study: StudyPaths) -> None:
    X, y, dates = study_rows(1000)
    card = saved(study, RatioByQuantile().fit(X, y), X, dates)["model_card.md"].decode()
    information = Predictor.load(study.grid).information
    assert information["range"]["vol_moving_avg"] == [X[:, 0].min(), X[:, 0].max()]
    assert (information["train_first_date"], information["train_last_date"]) == (str(dates[0]), str(dates[-1]))
    assert information["train_rows"] == 1000
    assert information["interval_level"] == 0.8
    assert "below the 100 of the moving average itself (0.9000 of it)" in card
    worse = information | {"metrics": information["metrics"] | {"mae": 101.0}}
    assert "not below the 100 of the moving average itself (1.0100 of it)" in store.model_card(worse)
