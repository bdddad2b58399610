"""Ours: `lib.data.ingest` and `lib.features.build`, as the notebooks call it. A fourth argument names the engine: ``local`` (the default) or ``spark``.

Beside the common stages it has ``model``, what 03_train does, for benchmarks/usual.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lib.compute.engine import Engine
from lib.compute.processes import available_cores
from lib.data.archive import list_archive
from lib.paths import StudyPaths


def make_model(study: StudyPaths) -> None:
    """Fit the default model on the earlier dates, measure it on the last ones, and save it."""
    from lib.evaluation.rows import chronological_split
    from lib.evaluation.sample import draw_rows
    from lib.evaluation.scores import headline_metrics
    from lib.models import store
    from lib.models.registry import make_estimator
    from lib.storage.dataset import open_dataset

    features = open_dataset(study.features)
    sample = draw_rows(features, [0])[0]
    split = chronological_split(sample.days, 0.2)
    train = sample.rows.chosen(~split.test(sample.rows))
    estimator = make_estimator("ratio_by_quantile", "absolute", 42, {})
    estimator.fit(train.features, train.volume)
    measured = headline_metrics(features, train, split, estimator.table_)
    information = store.describe(
        estimator, train.features, train.date, 0, 30, str(split.first_test_date), features.digest, measured
    )
    store.save(study, estimator, information)


if __name__ == "__main__":
    stage, archive, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    name = sys.argv[4] if len(sys.argv) > 4 else "local"
    engine = Engine(name, spark_master=f"local[{available_cores()}]")
    # The study's folder becomes OUT, so that its datasets are OUT/prices and OUT/features.
    os.environ["STUDY_OUTPUTS"] = str(out.resolve().parent)
    study = StudyPaths(out.name)
    # Imported where it is needed: a stage's time is its own.
    if stage == "prices":
        from lib.data import ingest

        ingest.ingest(list_archive(archive), study, engine=engine)
    elif stage == "features":
        from lib.features import build

        build.build_features(study, engine=engine)
    else:
        make_model(study)
