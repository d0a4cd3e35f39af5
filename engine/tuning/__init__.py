"""Finds the cheapest search parameters that reach a wanted recall on an index's own queries."""

from .report import Trial, Tuning
from .tune import tune

__all__ = ["Trial", "Tuning", "tune"]
