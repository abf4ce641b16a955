"""The MLflow record of a run, written from its journal without holding up the training."""

from __future__ import annotations

from sweeper.tracking.destination import resolve_uri
from sweeper.tracking.tracker import MlflowTracker
from sweeper.tracking.ui import UiServer, open_ui

__all__ = ["MlflowTracker", "UiServer", "open_ui", "resolve_uri"]
