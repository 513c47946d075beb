"""Optuna's side of tuning: the only place that imports it."""

from grandopt.tuning.study.search import finished as finished
from grandopt.tuning.study.search import run as run
