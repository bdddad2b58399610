"""The dashboard: its tabs, each a module of its own.

`notebooks/dashboard.ipynb` shows the panels of a `Dashboard`; Voilà turns the notebook into a page. Everything here must import
quickly and stay small, as every visitor has a process of their own: NumPy and ipywidgets, no pandas, no scikit-learn.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from lib.serving.dashboard.batch import BatchTab
from lib.serving.dashboard.forecast import ForecastTab
from lib.serving.dashboard.model import ModelTab
from lib.serving.dashboard.predict import PredictTab
from lib.serving.dashboard.reports import ReportsTab
from lib.serving.dashboard.session import Session

_PANELS = Path(__file__).parent / "templates/static/panels.css"


class Dashboard:
    """Everything on the page.

    Parameters
    ----------
    query : str
        The page's query string: ``forecast``, ``symbol``, ``vol_moving_avg`` and ``adj_close_rolling_med`` fill the fields.

    Attributes
    ----------
    forecast, predict, batch, reports, model
        The tabs; the ``panel`` of each is what the notebook shows.
    """

    def __init__(self, study: str, query: str = "") -> None:
        session = Session(study)
        given = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        self.forecast = ForecastTab(session, given)
        self.predict = PredictTab(session, given)
        self.batch = BatchTab(session)
        self.reports = ReportsTab(session)
        self.model = ModelTab(session)

    @staticmethod
    def style() -> str:
        """The look of the panels as an element, for pages that do not link to it: JupyterLab's and plain Voilà's."""
        rules = _PANELS.read_text(encoding="utf-8").replace(":root", "&")
        # Nested, so that it reaches no other output of JupyterLab's.
        return f"<style>.jp-OutputArea-output:has(.card) {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1120px; {rules} }}</style>"
