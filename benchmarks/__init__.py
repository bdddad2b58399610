"""Measurements: a synthetic archive of Kaggle's shape, and this project's speed beside its peers'."""
