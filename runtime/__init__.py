"""The engine: actors, refs, mailboxes, names, timers, events, and running a tree of them."""

from resprout.runtime.actor import Actor
from resprout.runtime.backoff import Backoff
from resprout.runtime.breaker import CircuitBreaker
from resprout.runtime.breaker_events import BreakerChanged, BreakerStats
from resprout.runtime.breaker_judge import judge, judge_by
from resprout.runtime.breaker_policy import (
    BreakerPolicy,
    Consecutive,
    FailureRate,
    FailureRateIn,
    FailuresIn,
    FailuresOf,
    SlowRate,
    SlowRateIn,
)
from resprout.runtime.breaker_rules import Force, Outcome
from resprout.runtime.breaker_ticket import Ticket
from resprout.runtime.breakers import breakers
from resprout.runtime.context import Context
from resprout.runtime.crashreport import CrashReport
from resprout.runtime.errors import (
    ActorCrashed,
    ActorError,
    ActorNotRunning,
    ActorStopped,
    CallTimeoutError,
    CircuitOpen,
    DeadlineExceeded,
    DegradedReadOnly,
    Draining,
    Ignore,
    LinkedExit,
    MailboxFull,
    MailDropped,
    NameTakenError,
    NotFoundError,
    OutcomeUnknown,
    Phase,
    PoolExhausted,
    ReplyError,
    ResproutError,
    SelfCallError,
    Sent,
    ServiceError,
    StartFailed,
    StartTimeout,
    StashFull,
    StateError,
    TreeError,
    Unavailable,
    UnknownMessageError,
)
from resprout.runtime.events import Event, EventStream, Subscriber, SubscriberFailed
from resprout.runtime.exits import Crashed, ExitReason, Ignored, Killed, Normal, Shutdown
from resprout.runtime.life import Life
from resprout.runtime.lifecycle import (
    ActorExited,
    ActorRestarting,
    ActorStarted,
    ActorStuck,
    AlarmFailed,
    CastFailed,
    MessageLost,
    StuckActorEnded,
)
from resprout.runtime.logs import log_events, log_to_stderr
from resprout.runtime.mailbox import Mailbox, MailboxStatistics, MailFate, Overflow
from resprout.runtime.main import run, serve
from resprout.runtime.names import Name
from resprout.runtime.observing import Statistics, TraceEvent, TraceKind
from resprout.runtime.orders import Control, control
from resprout.runtime.recipe import BRUTAL_KILL, INFINITY, Recipe, ShutdownTime
from resprout.runtime.ref import Address, Ref
from resprout.runtime.reply import Reply
from resprout.runtime.retry import may_repeat, retry
from resprout.runtime.retry_budget import (
    RetryBudget,
    RetryBudgetExhausted,
    RetryPolicy,
    retry_budgets,
)
from resprout.runtime.signals import ChildExit, Down, PeerExit, Signal
from resprout.runtime.snapshot import Described, Fact, Snapshot
from resprout.runtime.statemachine import StateMachine
from resprout.runtime.stopping import SlowStop, StopReport, Straggler
from resprout.runtime.system import DeadLetter, System, open_runtime
from resprout.runtime.timers import Timer
from resprout.runtime.watchdog import LoopBlocked, LoopResumed

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorError",
    "ActorExited",
    "ActorNotRunning",
    "ActorRestarting",
    "ActorStarted",
    "ActorStopped",
    "ActorStuck",
    "Address",
    "AlarmFailed",
    "Backoff",
    "BreakerChanged",
    "BreakerPolicy",
    "BreakerStats",
    "CallTimeoutError",
    "CastFailed",
    "ChildExit",
    "CircuitBreaker",
    "CircuitOpen",
    "Consecutive",
    "Context",
    "Control",
    "CrashReport",
    "Crashed",
    "DeadLetter",
    "DeadlineExceeded",
    "DegradedReadOnly",
    "Described",
    "Down",
    "Draining",
    "Event",
    "EventStream",
    "ExitReason",
    "Fact",
    "FailureRate",
    "FailureRateIn",
    "FailuresIn",
    "FailuresOf",
    "Force",
    "BRUTAL_KILL",
    "INFINITY",
    "Ignore",
    "Ignored",
    "Killed",
    "Life",
    "LinkedExit",
    "LoopBlocked",
    "LoopResumed",
    "MailDropped",
    "MailFate",
    "Mailbox",
    "MailboxFull",
    "MailboxStatistics",
    "MessageLost",
    "Name",
    "NameTakenError",
    "Normal",
    "NotFoundError",
    "Outcome",
    "OutcomeUnknown",
    "Overflow",
    "PeerExit",
    "PoolExhausted",
    "Recipe",
    "Ref",
    "Reply",
    "RetryBudget",
    "RetryBudgetExhausted",
    "RetryPolicy",
    "may_repeat",
    "retry",
    "retry_budgets",
    "ReplyError",
    "ResproutError",
    "SelfCallError",
    "Phase",
    "Sent",
    "ServiceError",
    "Shutdown",
    "ShutdownTime",
    "Signal",
    "SlowRate",
    "SlowRateIn",
    "SlowStop",
    "Snapshot",
    "StartFailed",
    "StartTimeout",
    "StashFull",
    "StateError",
    "StateMachine",
    "Statistics",
    "StopReport",
    "Straggler",
    "StuckActorEnded",
    "Subscriber",
    "SubscriberFailed",
    "System",
    "Ticket",
    "Timer",
    "TraceEvent",
    "TraceKind",
    "TreeError",
    "Unavailable",
    "UnknownMessageError",
    "breakers",
    "control",
    "judge",
    "judge_by",
    "log_events",
    "log_to_stderr",
    "open_runtime",
    "run",
    "serve",
]
