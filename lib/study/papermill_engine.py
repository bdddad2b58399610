"""The papermill engine of stages: papermill's own, which saves the notebook once."""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

NAME = "saved-once"


class SavedOnce(NBClientEngine):
    """Papermill's engine, without its saves before and after each cell.

    Papermill 2.7 writes the whole notebook sixty times, a quarter of what a run computes beside its kernels, and once more when the execution ends, in
    whatever way (https://github.com/nteract/papermill/blob/2.7.0/papermill/engines.py).
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, kernel_name: str, **kwargs: Any) -> None:
        """Execute the notebook; the same contract as papermill's."""
        path, nb_man.output_path = nb_man.output_path, None
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        finally:
            nb_man.output_path = path


papermill_engines.register(NAME, SavedOnce)
