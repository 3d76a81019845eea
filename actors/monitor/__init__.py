"""Watching services along their real path, and saying whether the application is ready."""

from resprout.actors.monitor.actor import HealthMonitor, PauseError
from resprout.actors.monitor.board import Checkable, HealthBoard, Place
from resprout.actors.monitor.events import HealthChanged, MonitorPaused, MonitorResumed, RecoveryAsked
from resprout.actors.monitor.health import Health, Readiness, Verdict
from resprout.actors.monitor.policy import MonitorPolicy
from resprout.actors.monitor.pulse import MonitorHung

__all__ = [
    "Checkable",
    "Health",
    "HealthBoard",
    "HealthChanged",
    "HealthMonitor",
    "MonitorHung",
    "MonitorPaused",
    "MonitorPolicy",
    "MonitorResumed",
    "PauseError",
    "Place",
    "Readiness",
    "RecoveryAsked",
    "Verdict",
]
