"""A model is one line of the registry, and its settings are its own signature."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from lib import code
from lib.models import registry
from lib.models.forest import Forest
from lib.models.registry import MODELS, estimator_class, make_estimator, model_name, settings_of


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_made_with_its_defaults_and_knows_its_name(model: str) -> None:
    estimator = make_estimator(model, "squared", 7, {})
    assert model_name(estimator) == model
    assert estimator.get_params().get("objective", "squared") == "squared"
    assert estimator.get_params().get("random_state", 7) == 7
    assert {"interval_level"} <= settings_of(model).model_fields.keys()
    assert estimator_class(model).description


def test_settings_reach_the_estimator() -> None:
    forest = make_estimator("forest", "absolute", 7, {"n_estimators": 11, "sample_share": 0.5})
    assert isinstance(forest, Forest)
    assert (forest.n_estimators, forest.sample_share, forest.random_state) == (11, 0.5, 7)


@pytest.mark.parametrize("settings", [{"trees": 3}, {"n_estimators": 0}, {"random_state": 1}])
def test_a_setting_that_is_not_allowed_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        make_estimator("forest", "absolute", 7, settings)


def test_reading_params_needs_no_scikit_learn() -> None:
    script = "import sys, lib.params, lib.models.registry; print('sklearn' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_the_stage_cache_follows_the_registry_to_the_models() -> None:
    modules = {path.stem for path in code.imported_modules("from lib.models.registry import MODELS")}
    assert {MODELS[model].split(".")[-2] for model in MODELS} | {"regressor", "table"} <= modules
    assert registry.ELSEWHERE.keys() == {"objective", "random_state"}
