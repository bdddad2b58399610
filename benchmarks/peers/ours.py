"""Ours: `lib.data.ingest` and `lib.features.build`, as the notebooks call it. A fourth argument names the engine: ``local`` (the default) or ``spark``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lib.compute.engine import Engine
from lib.compute.processes import available_cores
from lib.data.archive import list_archive
from lib.paths import StudyPaths

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
    else:
        from lib.features import build

        build.build_features(study, engine=engine, summarised=False)  # the work that the others do
