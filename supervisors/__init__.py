"""Supervision: child specs, strategies, restart intensity, supervisors."""

from resprout.supervisors.admin import restart_at
from resprout.supervisors.budget import shutdown_budget
from resprout.supervisors.cooldown import CoolDown
from resprout.supervisors.dynamic import DynamicSupervisor
from resprout.supervisors.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildError,
    ChildIgnored,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildStartFailed,
    ChildStopped,
    TooManyChildren,
)
from resprout.supervisors.info import ChildCounts, ChildInfo
from resprout.supervisors.intensity import Intensity
from resprout.supervisors.job import TaskFailed, TaskStopped
from resprout.supervisors.pool import Pool, PoolSupervisor, pool
from resprout.supervisors.routes import BY_KEY, LEAST_LOADED, ROUND_ROBIN, Route
from resprout.supervisors.spec import (
    GIVE_UP,
    AutoShutdown,
    ChildSpec,
    SupervisorSpec,
    child,
)
from resprout.supervisors.strategy import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    RestartType,
    Strategy,
)
from resprout.supervisors.supervisor import LimitReached, Supervisor
from resprout.supervisors.tasks import Tasks, TaskSupervisor
from resprout.supervisors.tree import dynamic_supervisor, supervisor, task_supervisor

__all__ = [
    "BY_KEY",
    "GIVE_UP",
    "LEAST_LOADED",
    "ONE_FOR_ALL",
    "ONE_FOR_ONE",
    "PERMANENT",
    "REST_FOR_ONE",
    "ROUND_ROBIN",
    "TEMPORARY",
    "TRANSIENT",
    "AlreadyPresent",
    "AlreadyStarted",
    "AutoShutdown",
    "ChildCounts",
    "ChildError",
    "ChildIgnored",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStopped",
    "CoolDown",
    "DynamicSupervisor",
    "Intensity",
    "LimitReached",
    "Pool",
    "PoolSupervisor",
    "RestartType",
    "Route",
    "Strategy",
    "Supervisor",
    "SupervisorSpec",
    "TaskFailed",
    "TaskStopped",
    "TaskSupervisor",
    "Tasks",
    "TooManyChildren",
    "child",
    "dynamic_supervisor",
    "pool",
    "restart_at",
    "shutdown_budget",
    "supervisor",
    "task_supervisor",
]
