"""The models that ``train.model`` chooses among, one line each, and their settings, as their own signatures have them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, create_model

if TYPE_CHECKING:
    from lib.models.regressor import TableRegressor

# By name, the module and the class: imported where one is needed, so that reading params needs no scikit-learn.
MODELS = {
    "ratio_by_quantile": "lib.models.ratio_by_quantile.RatioByQuantile",
    "forest": "lib.models.forest.Forest",
}
ELSEWHERE = {"objective": "train.objective", "random_state": "train.seed"}  # parameters that other params set


def estimator_class(model: str) -> type[TableRegressor]:
    """The class of a model; raises KeyError for a name that is not in `MODELS`."""
    module, _, name = MODELS[model].rpartition(".")
    return getattr(import_module(module), name)


def settings_of(model: str) -> type[BaseModel]:
    """What ``train.settings`` may hold for a model: names, types, ranges and defaults of its estimator's parameters.

    Examples
    --------
    >>> list(settings_of("ratio_by_quantile").model_fields)
    ['groups', 'interval_level']
    """
    estimator = estimator_class(model)
    annotations = typing.get_type_hints(estimator.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (annotations[name], parameter.default)
        for name, parameter in inspect.signature(estimator).parameters.items()
        if name not in ELSEWHERE
    }
    return create_model(estimator.__name__, __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def make_estimator(model: str, objective: str, seed: int, settings: Mapping[str, Any]) -> TableRegressor:
    """The estimator that the ``train`` section of a params file asks for, not fitted.

    Raises
    ------
    pydantic.ValidationError
        A setting that the model does not have, or a value that it does not allow.
    """
    estimator = estimator_class(model)
    values = {"objective": objective, "random_state": seed, **settings_of(model).model_validate(settings).model_dump()}
    return estimator(**{name: values[name] for name in inspect.signature(estimator).parameters})


def model_name(estimator: TableRegressor) -> str:
    """The name of an estimator's class in `MODELS`."""
    path = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    return next(name for name, found in MODELS.items() if found == path)
