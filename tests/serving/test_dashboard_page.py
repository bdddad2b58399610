"""The dashboard as a whole: every tab opens, and a visitor's process stays small."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from serving_study import make_study

from lib import paths
from lib.serving.dashboard.page import Dashboard


def test_every_tab_of_the_notebook_is_one_of_the_dashboard(outputs):
    make_study(outputs)
    dashboard = Dashboard("sample", "vol_moving_avg=12345&adj_close_rolling_med=25")
    notebook = json.loads((paths.NOTEBOOKS / "dashboard.ipynb").read_text())
    shown = [cell["source"] for cell in notebook["cells"] if "panel" in cell["metadata"]]
    assert shown == [[f"dashboard.{name}.panel"] for name in vars(dashboard)]
    assert dashboard.predict.fields["vol_moving_avg"].value == "12345"
    assert dashboard.forecast.panel.children == ()


@pytest.mark.parametrize("module", ["lib.serving.dashboard.page", "lib.serving.dashboard.forkserver"])
def test_a_visitor_s_process_imports_nothing_large(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert not {"pandas", "pyarrow", "sklearn", "scipy", "matplotlib"} & set(done.stdout.split())
