"""Watching services along their real path, and saying whether the application is ready."""

from resprout.actors.monitor.actor import HealthMonitor, PauseError
from resprout.actors.monitor.board import Checkable, HealthBoard, Place
from resprout.actors.monitor.events import HealthChanged, MonitorPaused, RecoveryAsked
from resprout.actors.monitor.health import Health, Readiness, Verdict
from resprout.actors.monitor.policy import MonitorPolicy

__all__ = [
    "Checkable",
    "Health",
    "HealthBoard",
    "HealthChanged",
    "HealthMonitor",
    "MonitorPaused",
    "MonitorPolicy",
    "PauseError",
    "Place",
    "Readiness",
    "RecoveryAsked",
    "Verdict",
]
