"""What is promised: exactly these names. A change here is a change users notice; it needs a line in CHANGELOG."""

import importlib
import inspect
import re

import pytest

from tests.project.import_reader import ROOT

RUNTIME = """
Actor ActorCrashed ActorError ActorExited ActorNotRunning ActorRestarting ActorStarted ActorStopped
ActorStuck Address AlarmFailed BRUTAL_KILL Backoff BreakerChanged BreakerPolicy CallTimeoutError
CastFailed ChildExit CircuitBreaker CircuitOpen Context Control CrashReport Crashed DeadLetter
DeadlineExceeded DegradedReadOnly Described Down Draining Event EventStream ExitReason Fact INFINITY
Ignore Ignored Killed Life LinkedExit LoopBlocked LoopResumed MailDropped MailFate Mailbox MailboxFull
MailboxStatistics MessageLost Name NameTakenError Normal NotFoundError OutcomeUnknown Overflow PeerExit
PoolExhausted Recipe Ref Reply ReplyError Phase ResproutError SelfCallError Sent ServiceError Shutdown
ShutdownTime Signal Snapshot StartFailed StartTimeout StashFull StateError StateMachine Statistics
StuckActorEnded Subscriber SubscriberFailed SlowStop StopReport Straggler System Timer TraceEvent
TraceKind TreeError Unavailable UnknownMessageError breakers control log_events log_to_stderr
open_runtime run serve
"""

BREAKER = """
BreakerStats Consecutive FailureRate FailureRateIn FailuresIn FailuresOf Force Outcome RetryBudget
RetryBudgetExhausted RetryPolicy SlowRate SlowRateIn Ticket judge judge_by may_repeat retry retry_budgets
"""

SUPERVISORS = """
AlreadyPresent AlreadyStarted AutoShutdown ChildCounts ChildError ChildIgnored ChildInfo ChildNotFound
ChildRestarting ChildRunning ChildSpec ChildStartFailed ChildStopped
CoolDown DynamicSupervisor GIVE_UP Intensity LimitReached ONE_FOR_ALL ONE_FOR_ONE
PERMANENT REST_FOR_ONE RestartType Strategy Supervisor SupervisorSpec TEMPORARY TRANSIENT TaskFailed TaskStopped
TaskSupervisor Tasks TooManyChildren
BY_KEY LEAST_LOADED Pool PoolSupervisor ROUND_ROBIN Route pool
child dynamic_supervisor restart_at shutdown_budget supervisor task_supervisor
"""

TESTING = """
Bandwidth BlackHole Direction Ending EventRecorder Expected FakeConnection FakeService FaultProxy InjectedCrash
Latency LimitBytes LocalServer NothingScripted Probe Received Recorded Request Slicer Stall Toxic WaitedInVain
crash expect_event fault_proxy kill postgres_server recorder_of redis_server run runtime server tree_text
wait_for_end wait_for_life wait_for_restart wait_until
"""

SIMULATION = """
Decision Fault Faults Outcome Plan Scenario SimulationFailed check plan_of shrink simulate
"""

AUTH = """
AuthClient AuthDesk AuthPolicy Authenticator GraceUsed InvalidToken Probing RedisSessions Verifier VerifierFailed
"""

SIGNED = """
BadKeySet Claims FetchRefused JwksConnection KeyRing KeysPolicy SignedTokens
"""

MONITOR = """
Checkable Health HealthBoard HealthChanged HealthMonitor MonitorHung MonitorPaused MonitorPolicy MonitorResumed
PauseError Place Readiness RecoveryAsked Verdict
"""

PACKAGES = {
    "resprout.runtime": RUNTIME.split() + BREAKER.split(),
    "resprout.supervisors": SUPERVISORS.split(),
    "resprout.testing": TESTING.split(),
    "resprout.testing.simulation": SIMULATION.split(),
    "resprout.actors.auth": AUTH.split(),
    "resprout.actors.auth.signed": SIGNED.split(),
    "resprout.actors.monitor": MONITOR.split(),
    "resprout": RUNTIME.split() + BREAKER.split() + SUPERVISORS.split(),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_promises_exactly_these_names(package: str) -> None:
    assert sorted(importlib.import_module(package).__all__) == sorted(PACKAGES[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_promised_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_promised_name_is_explained(package: str) -> None:
    module = importlib.import_module(package)
    promised = {name: getattr(module, name) for name in module.__all__}
    made = {name: each for name, each in promised.items() if inspect.isclass(each) or inspect.isroutine(each)}
    assert [name for name, each in made.items() if not (each.__doc__ or "").strip()] == []


PAGES = {
    "resprout.actors.auth": "reference-auth-monitor.md",
    "resprout.actors.auth.signed": "reference-auth-monitor.md",
    "resprout.actors.monitor": "reference-auth-monitor.md",
}


@pytest.mark.parametrize("package", PAGES)
def test_every_promised_name_of_an_actor_package_is_on_its_page(package: str) -> None:
    page = (ROOT / "docs" / PAGES[package]).read_text()
    assert [name for name in PACKAGES[package] if not re.search(rf"\b{name}\b", page)] == []
