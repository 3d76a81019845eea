"""Every metric there is. docs/reference-metrics.md is the same list for readers; a test compares them.

Names follow Prometheus: base units, `_total` for counters. Labels have few values, and none is an id: see
`resprout.actors.metrics.labels`.
"""

from typing import Final

from resprout.actors.metrics.family import PREFIX, About, Family, Kind

EXITS: Final = ("normal", "shutdown", "killed", "crashed")
CONNECTION_STATES: Final = ("connecting", "ready", "degraded", "backing_off", "draining", "stopped")
FAILURES: Final = ("network", "timeout", "name", "tls", "auth", "protocol", "service")
BREAKER_STATES: Final = ("closed", "open", "half_open", "forced_open", "forced_closed", "metrics_only")
OUTCOMES: Final = ("success", "failure", "ignored", "cancelled")
SLOTS: Final = ("empty", "connecting", "idle", "in_use")
OUTAGE_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


def _gauge(name: str, help: str, about: About, *labels: str, **values: tuple[str, ...]) -> Family:
    names = (*labels, *values)
    return Family(name=PREFIX + name, kind=Kind.GAUGE, help=help, about=about, labels=names, values=values)


def _read(name: str, help: str, about: About, *labels: str, **values: tuple[str, ...]) -> Family:
    """A counter that somebody else keeps, and that is read at each scrape."""
    names = (*labels, *values)
    return Family(name=PREFIX + name, kind=Kind.COUNTER, help=help, about=about, labels=names, values=values)


def _counted(name: str, help: str, about: About, *labels: str, **values: tuple[str, ...]) -> Family:
    """A counter of events."""
    return Family(
        name=PREFIX + name,
        kind=Kind.COUNTER,
        help=help,
        about=about,
        labels=(*labels, *values),
        values=values,
        counted=True,
    )


_RUNTIME, _ACTOR, _CONNECTION, _BREAKER = About.RUNTIME, About.ACTOR, About.CONNECTION, About.BREAKER
_POOL, _QUEUE, _HEALTH, _OTHERS = About.POOL, About.QUEUE, About.HEALTH, About.OTHERS

# The runtime.
INFO = _gauge("info", "Always 1; the labels say what runs.", _RUNTIME, "version", "python", "trio")
LOOP_LAG = _gauge("loop_lag_seconds", "How long a task that could run had to wait for its turn.", _RUNTIME)
TASKS = _gauge("tasks", "trio tasks in the whole process.", _RUNTIME)
DEAD_LETTERS = _read("dead_letters_total", "Messages that will never be handled.", _RUNTIME)
SUBSCRIBER_FAILURES = _counted(
    "event_subscriber_failures_total",
    "Subscribers of the event stream that raised and were removed.",
    _RUNTIME,
)
COUNTING_FAILURES = _counted(
    "metrics_failures_total", "Events that could not be counted because of a bug.", _RUNTIME
)
SCRAPE_TIME = _gauge("scrape_duration_seconds", "How long this reading took.", _RUNTIME)

# Actors and supervisors.
RUNNING = _gauge("actor_running", "1 while the actor in this place serves, else 0.", _ACTOR, "actor")
DYNAMIC = _gauge(
    "dynamic_actors", "Actors that were started while the tree ran, by class.", _OTHERS, "actor", "kind"
)
RESTARTS = _counted("actor_restarts_total", "Restarts that nobody ordered.", _ACTOR, "actor")
ACTOR_EXITS = _counted("actor_exits_total", "Ends of incarnations, by reason.", _ACTOR, "actor", reason=EXITS)
STUCK = _counted("actor_stuck_total", "Actors that ran on after they were cancelled.", _ACTOR, "actor")
BLOCKED = _counted(
    "loop_blocked_total", "Times the loop stood still in the code of an actor.", _ACTOR, "actor"
)
ALARM_FAILURES = _counted(
    "alarm_failures_total", "Alarms of an actor, run by the runtime, that raised.", _ACTOR, "actor"
)
CAST_FAILURES = _counted(
    "cast_failures_total", "Casts answered with an error that nobody waits for.", _ACTOR, "actor"
)
MAILBOX = _gauge("mailbox_messages", "Messages that wait in the mailbox.", _ACTOR, "actor")
MAILBOX_CAPACITY = _gauge("mailbox_capacity_messages", "How many may wait.", _ACTOR, "actor")
LIMITS_REACHED = _counted(
    "supervisor_limits_reached_total",
    "Times a supervisor reached its restart limit, and what it did.",
    _ACTOR,
    "actor",
    action=("cool_down", "give_up"),
)

# Connections.
STATE = _gauge(
    "connection_state",
    "1 for the state the connection is in, else 0.",
    _CONNECTION,
    "service",
    state=CONNECTION_STATES,
)
SINCE = _gauge(
    "connection_state_since_timestamp_seconds", "When it entered this state.", _CONNECTION, "service"
)
CHANGES = _counted(
    "connection_state_changes_total",
    "Changes to this state.",
    _CONNECTION,
    "service",
    state=CONNECTION_STATES,
)
LOST = _counted("connection_losses_total", "Live links that died.", _CONNECTION, "service")
ROTATIONS = _counted(
    "connection_rotations_total",
    "New links that took over from a live one, on request.",
    _CONNECTION,
    "service",
)
FAILED_ROTATIONS = _counted(
    "connection_rotation_failures_total",
    "Attempts to make such a link that failed.",
    _CONNECTION,
    "service",
    kind=FAILURES,
)
PROBES_MISSED = _counted(
    "connection_probes_missed_total", "Health probes of the link that failed.", _CONNECTION, "service"
)
ATTEMPTS = _counted("recovery_attempts_total", "Attempts to connect that have ended.", _CONNECTION, "service")
FAILED_ATTEMPTS = _counted(
    "recovery_failures_total", "Attempts to connect that failed.", _CONNECTION, "service", kind=FAILURES
)
RECOVERIES = _counted("recovery_successes_total", "Outages that ended.", _CONNECTION, "service")
OUTAGES = Family(
    name=PREFIX + "recovery_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="How long outages lasted.",
    about=_CONNECTION,
    labels=("service",),
    bounds=OUTAGE_SECONDS,
    counted=True,
)
TLS_EXPIRY = _gauge(
    "tls_expiry_timestamp_seconds", "When the certificate of the live link expires.", _OTHERS, "service"
)
BACKOFF = _gauge(
    "reconnect_backoff_seconds", "Until the next attempt; 0 if none is waited for.", _CONNECTION, "service"
)

# Circuit breakers.
BREAKER_STATE = _gauge(
    "breaker_state", "1 for the state the breaker is in, else 0.", _BREAKER, "service", state=BREAKER_STATES
)
BREAKER_CHANGES = _counted(
    "breaker_transitions_total", "Changes to this state.", _BREAKER, "service", state=BREAKER_STATES
)
BREAKER_CALLS = _read(
    "breaker_calls_total", "Calls that were let through, by outcome.", _BREAKER, "service", outcome=OUTCOMES
)
BREAKER_SLOW = _read("breaker_slow_calls_total", "Calls that took too long.", _BREAKER, "service")
BREAKER_REJECTED = _read("breaker_rejected_total", "Calls that were not let through.", _BREAKER, "service")
BREAKER_LATE = _read(
    "breaker_late_results_total", "Results that came too late to count.", _BREAKER, "service"
)
BREAKER_WOULD_OPEN = _read(
    "breaker_would_open_total", "Times a rule was met while it only counts.", _BREAKER, "service"
)
BREAKER_OPEN = _counted(
    "breaker_open_seconds_total", "Time spent open, by itself or by order.", _BREAKER, "service"
)

# Retry budgets.
RETRIES = _read("retries_total", "Attempts after the first one.", About.RETRIES, "service")
RETRIES_EXHAUSTED = _read(
    "retry_budget_exhausted_total", "Retries that the budget did not allow.", About.RETRIES, "service"
)

# Pools.
POOL = _gauge("pool_connections", "Slots of the pool, by what they do.", _POOL, "service", state=SLOTS)
WAITERS = _gauge("pool_waiters", "Callers that wait for a connection.", _POOL, "service")
EXHAUSTED = _counted("pool_exhausted_total", "Callers that got no connection in time.", _POOL, "service")
OPENED = _counted("pool_opened_total", "Connections the pool has opened.", _POOL, "service")
CLOSED = _counted(
    "pool_closed_total", "Connections it has closed or lost.", _POOL, "service", planned=("yes", "no")
)
HELD_TOO_LONG = _counted(
    "pool_held_too_long_total", "Connections that somebody kept for too long.", _POOL, "service"
)

# Queues and WebSocket clients.
QUEUE_UP = _gauge("queue_readable", "1 if the store told its books at this scrape.", _QUEUE, "actor")
ACCEPTED = _read("messages_accepted_total", "Messages durably stored.", _QUEUE, "actor")
ACKED = _read("messages_acked_total", "Messages that clients have and said so.", _QUEUE, "actor")
EXPIRED = _read("messages_expired_total", "Messages that reached their time to live.", _QUEUE, "actor")
REDRIVEN = _read("messages_redriven_total", "Dead messages that were put back.", _QUEUE, "actor")
PENDING = _gauge("messages_pending", "Messages that wait for their client.", _QUEUE, "actor")
IN_FLIGHT = _gauge("messages_in_flight", "Messages that are with their client.", _QUEUE, "actor")
DEAD = _gauge("messages_dead", "Messages that were given up on and can be redriven.", _QUEUE, "actor")
MISSING = _gauge(
    "messages_conservation_error",
    "Accepted minus acked, pending, in flight, dead and expired: 0, or something was lost.",
    _QUEUE,
    "actor",
)
HELD = _gauge("queue_held_bytes", "What sessions hold in memory.", _QUEUE, "actor")
SESSIONS = _gauge("queue_sessions", "Clients that are connected.", _QUEUE, "actor")
SESSIONS_STARTED = _counted("queue_sessions_started_total", "Clients that connected.", _QUEUE, "actor")
SESSIONS_ENDED = _counted("queue_sessions_ended_total", "Sessions that are over.", _OTHERS, "actor")
FAILED_MESSAGES = _counted(
    "messages_failed_total", "Times a client could not deal with a message.", _QUEUE, "actor"
)
DEATHS = _counted("messages_given_up_total", "Messages that became dead letters.", _QUEUE, "actor")
STREAM_RESETS = _counted("stream_resets_total", "Streams whose store had lost messages.", _QUEUE, "actor")
STORE_ERRORS = _counted("store_errors_total", "Times the store could not be used.", _QUEUE, "actor")
STORE_WEAK = _counted(
    "store_weaknesses_total", "Reports that the store could lose what it accepted.", _QUEUE, "actor"
)
LAW_BROKEN = _counted(
    "conservation_violations_total", "Checks of the books that did not balance.", _QUEUE, "actor"
)
REFUSED = _counted(
    "websocket_refused_total", "Connections turned away before they had a session.", _OTHERS, "actor"
)
BROKEN = _counted("websocket_broken_total", "Connections that ended by a bug.", _OTHERS, "actor")

# Health.
READY = _gauge("ready", "1 while /readyz would say so.", _RUNTIME)
HEALTHY = _gauge("service_healthy", "1 while the service counts as healthy.", _HEALTH, "service")
REQUIRED = _gauge("service_required", "1 if readiness depends on it.", _HEALTH, "service")
CHECKED = _gauge("health_check_timestamp_seconds", "When its last check ended.", _HEALTH, "service")
PAUSED = _gauge("monitor_paused_seconds", "For how long the monitor still pauses.", _RUNTIME)
HEALTH_CHANGES = _counted(
    "health_changes_total", "Checks that changed the verdict.", _HEALTH, "service", healthy=("yes", "no")
)
RECOVERY_ASKED = _counted(
    "recovery_requests_total", "Times the monitor asked the owner to recover.", _HEALTH, "service"
)

# Others.
VERIFIER_ERRORS = _counted("verifier_errors_total", "Bugs in the token verifier.", _OTHERS, "service")
GRACE = _counted("auth_grace_uses_total", "Tokens let in unverified during an outage.", _OTHERS, "service")
PROCESS_READY = _counted("process_starts_total", "Server processes that became ready.", _OTHERS, "service")
PROCESS_EXITS = _counted(
    "process_exits_total", "Server processes that died by themselves.", _OTHERS, "service"
)
LEFTOVERS = _counted("process_leftovers_total", "Processes of an earlier life, killed.", _OTHERS, "service")
MCP_TOOLS = _counted("mcp_tool_changes_total", "Listings of tools that differed.", _OTHERS, "service")

FAMILIES: Final = tuple(one for one in tuple(globals().values()) if isinstance(one, Family))
