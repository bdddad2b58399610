"""The endpoint as FastAPI's tutorial would write it: a typed route. What benchmarks/serving.py measures ours beside."""

from __future__ import annotations

import argparse
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Query

from lib import paths
from lib.models.predictor import Predictor


def make_app(study: str) -> FastAPI:
    """An application with one route that predicts."""
    predictor = Predictor.load(paths.StudyPaths(study).grid)
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/predict")
    async def predict(
        vol_moving_avg: Annotated[float, Query(ge=0, allow_inf_nan=False)],
        adj_close_rolling_med: Annotated[float, Query(allow_inf_nan=False)],
    ) -> int:
        return int(predictor.predict(vol_moving_avg, adj_close_rolling_med))

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(make_app(options.study), port=options.port, log_level="warning", access_log=False)
