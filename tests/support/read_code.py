"""Read once what each run reads, for the runs that are forked from the process that imports this: which code decides what each stage makes."""

from __future__ import annotations

from lib import code, paths
from lib.stages import STAGES
from lib.study import cache

for stage in STAGES:
    code.imported_modules(cache.notebook_code(paths.stage_notebook(stage)))
for module in ("lib.data.ingest", "lib.features.build", "lib.reports.page"):
    code.digest(module, {})
