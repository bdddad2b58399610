"""What each stage's report is called, and what it answers: nothing else, so that a kernel that must stay small can import it."""

from __future__ import annotations

TITLES: dict[str, tuple[str, str]] = {
    "01_ingest": ("Ingest", "Which raw rows are there, and which were set aside?"),
    "02_features": ("Features", "What do the moving average and the rolling median look like?"),
    "03_train": ("Train", "What did the model learn?"),
    "04_evaluate": ("Evaluate", "How wrong is it, and is it better than a plain average?"),
    "05_forecast": ("Forecast", "How many shares will trade tomorrow, and how sure is that?"),
}
