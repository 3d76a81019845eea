"""The breaker against a model of its own: a plain list of all that happened, searched anew at each question.

The model does not share a line with the rules. Times are whole seconds, so that edges are hit; only the drawn open
time is read from the breaker, after its range was checked.
"""

import random
from typing import TypeAlias

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resprout.runtime import breaker_rules as rules
from resprout.runtime.breaker_policy import (
    BreakerPolicy,
    Consecutive,
    FailureRate,
    FailureRateIn,
    FailuresIn,
    FailuresOf,
    SlowRate,
    SlowRateIn,
    TripRule,
)
from resprout.runtime.breaker_rules import Admitted, BreakerState, Closed, Force, Open, Outcome

SLOW_AFTER = 4.0
RULES: list[TripRule] = [
    Consecutive(3),
    FailuresOf(3, 5),
    FailuresIn(3, 8.0),
    FailureRate(0.5, 8, 4),
    FailureRateIn(0.6, 20.0, 3),
    SlowRate(0.5, SLOW_AFTER, 6, 3),
    SlowRateIn(0.7, SLOW_AFTER, 30.0, 2),
]
End: TypeAlias = tuple[float, bool]  # When, and whether it failed; or, was slow.


@attrs.define(eq=False)
class Call:
    """One call that was admitted: in which era, since when, as a probe or not, and whether it hung."""

    ticket: Admitted
    era: int
    began: float
    hung: bool = False


@attrs.define
class Model:
    """What the state must be. `era` counts changes; ends and speeds are of the present era."""

    policy: BreakerPolicy
    state: str = "closed"
    era: int = 0
    since: float = -1e9
    until: float = 0.0
    openings: int = 0
    ends: list[End] = attrs.field(factory=list)
    speeds: list[End] = attrs.field(factory=list)
    probes: list[Call] = attrs.field(factory=list)
    good_probes: int = 0
    would_open: int = 0

    def to(self, state: str, now: float) -> None:
        self.state, self.since = state, now
        self.era += 1
        self.ends, self.speeds, self.probes, self.good_probes = [], [], [], 0
        self.would_open = 0

    def to_open(self, now: float) -> None:
        calm = self.state == "closed" and now >= self.since + self.policy.reset_after
        self.openings = 1 if calm else self.openings + 1
        self.to("open", now)

    def says_down(self, rule: TripRule, now: float) -> bool:
        failed = [bad for _, bad in self.ends]
        slow = [bad for _, bad in self.speeds]
        match rule:
            case Consecutive(failures=k):
                return len(failed) >= k and all(failed[-k:])
            case FailuresOf(failures=k, calls=n):
                return sum(failed[-n:]) >= k
            case FailuresIn(failures=k, seconds=t):
                return sum(bad and at >= now - t for at, bad in self.ends) >= k
            case FailureRate(share=share, calls=n, min_calls=least):
                return len(failed[-n:]) >= least and sum(failed[-n:]) >= share * len(failed[-n:]) - 1e-9
            case SlowRate(share=share, calls=n, min_calls=least):
                return len(slow[-n:]) >= least and sum(slow[-n:]) >= share * len(slow[-n:]) - 1e-9
            case FailureRateIn(share=share, seconds=t, min_calls=least):
                return self._share_is_reached(self.ends, share, t, least, now)
            case SlowRateIn(share=share, seconds=t, min_calls=least):
                return self._share_is_reached(self.speeds, share, t, least, now)

    def _share_is_reached(self, seen: list[End], share: float, t: float, least: int, now: float) -> bool:
        step = t / 10
        recent = [bad for at, bad in seen if at // step > now // step - 10]
        return len(recent) >= least and sum(recent) >= share * len(recent) - 1e-9

    def look(self, now: float) -> None:
        if not any(self.says_down(rule, now) for rule in self.policy.trips):
            return
        if self.state == "closed":
            self.to_open(now)
        else:
            self.ends, self.speeds = [], []
            self.would_open += 1


class BreakerAgainstModel(RuleBasedStateMachine):
    @initialize(
        trips=st.sets(st.sampled_from(range(len(RULES))), min_size=1, max_size=3),
        half_open_max=st.integers(1, 2),
        successes=st.integers(1, 2),
    )
    def make(self, trips: set[int], half_open_max: int, successes: int) -> None:
        self.policy = BreakerPolicy(
            trips=tuple(RULES[each] for each in sorted(trips)),
            half_open_max=half_open_max,
            successes_to_close=successes,
        )
        self.model, self.rng, self.now = Model(self.policy), random.Random(1), 0.0
        self.state: BreakerState = Closed()
        self.calls: list[Call] = []

    @rule(seconds=st.sampled_from([1, 1, 2, 3, 7, 9, 29, 40, 130]))
    def wait(self, seconds: int) -> None:
        """Time passes; what is due by itself is counted at its own moment, the earliest first."""
        self.now += seconds
        while True:
            hanging = [
                (call.began + SLOW_AFTER, call)
                for call in self.calls
                if self.policy.slow_after == SLOW_AFTER and call.ticket.permit is None and not call.hung
            ]
            due, first = min(hanging, key=lambda each: each[0], default=(self.now + 1, None))
            if first is None or due > self.now:
                break
            first.hung = True
            self.state = rules.hang(self.state, first.ticket, due, self.policy, self.rng)
            counts = {"closed": True, "metrics_only": self.model.until > due}.get(self.model.state, False)
            if first.era == self.model.era and counts:
                self.model.speeds.append((due, True))
                self.model.look(due)
            self._agree_on_the_open_time()
        self._pass_time()

    @rule()
    def admit(self) -> None:
        model = self.model
        self.state, answer = rules.admit(self.state, self.now, self.policy, self.rng)
        if model.state == "open" and self.now >= model.until:
            model.to("half_open", self.now)
        passes = {
            "closed": True,
            "open": False,
            "half_open": len(model.probes) < self.policy.half_open_max,
            "forced_open": False,
            "forced_closed": True,
            "metrics_only": True,
        }[model.state]
        assert isinstance(answer, Admitted) == passes
        if isinstance(answer, Admitted):
            assert (answer.permit is not None) == (model.state == "half_open")
            call = Call(answer, model.era, self.now)
            self.calls.append(call)
            if model.state == "half_open":
                assert answer.until == self.now + 10
                model.probes.append(call)
        elif model.state == "half_open":
            assert answer.retry_after == min(probe.began for probe in model.probes) + 10 - self.now
        else:
            assert answer.retry_after == model.until - self.now > 0

    @rule(which=st.integers(0, 9), outcome=st.sampled_from([*Outcome, Outcome.FAILURE]))
    def settle(self, which: int, outcome: Outcome) -> None:
        if not self.calls:
            return
        call = self.calls.pop(which % len(self.calls))
        took_long = self.now - call.began >= self.policy.slow_after
        slow = None if call.hung else took_long
        self.state = rules.settle(
            self.state, call.ticket, outcome, self.now, self.policy, self.rng, slow=slow
        )
        if call.era != self.model.era:
            return
        if self.model.state == "half_open":
            self._settle_probe(call, outcome, slow=took_long)
        elif self.model.state in ("closed", "metrics_only") and outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            self.model.ends.append((self.now, outcome is Outcome.FAILURE))
            if not call.hung:
                self.model.speeds.append((self.now, took_long))
            self.model.look(self.now)
        self._agree_on_the_open_time()

    def _settle_probe(self, call: Call, outcome: Outcome, *, slow: bool) -> None:
        model = self.model
        model.probes.remove(call)
        if outcome is Outcome.FAILURE or (outcome is Outcome.SUCCESS and slow):
            model.to_open(self.now)
        elif outcome is Outcome.SUCCESS:
            model.good_probes += 1
            if model.good_probes == self.policy.successes_to_close:
                model.to("closed", self.now)

    @rule(force=st.sampled_from(Force), seconds=st.integers(1, 60))
    def force(self, force: Force, seconds: int) -> None:
        self.state = rules.overridden(self.state, self.now, force, float(seconds), "ann", "a test")
        self.model.to(force.value, self.now)
        self.model.until = self.now + seconds

    @rule()
    def release(self) -> None:
        self.state = rules.released(self.state, self.now)
        if self.model.state in {force.value for force in Force}:
            self.model.to("half_open", self.now)

    @rule()
    def see_alive(self) -> None:
        self.state = rules.seen_alive(self.state, self.now)
        if self.model.state == "open":
            self.model.to("half_open", self.now)

    def _pass_time(self) -> None:
        self.state = rules.expire(self.state, self.now, self.policy, self.rng)
        model = self.model
        if model.state in {force.value for force in Force} and model.until <= self.now:
            model.to("half_open", model.until)
        elif model.state == "half_open":
            deadlines = [probe.began + 10 for probe in model.probes]
            if deadlines and min(deadlines) <= self.now:
                model.to_open(min(deadlines))
        self._agree_on_the_open_time()

    def _agree_on_the_open_time(self) -> None:
        if self.model.state == "open":
            assert isinstance(self.state, Open)
            middle = min(30.0 * 2 ** (self.model.openings - 1), 100.0)
            assert 0.8 * middle <= self.state.until - self.state.since <= min(120.0, 1.2 * middle)
            self.model.until = self.state.until

    @invariant()
    def both_say_the_same(self) -> None:
        if hasattr(self, "model"):
            model, state = self.model, self.state
            assert (state.name, state.generation) == (model.state, model.era)
            assert state.openings == model.openings
            assert model.era == 0 or state.since == model.since
            if isinstance(state, rules.Override):
                assert state.trips == model.would_open
            if isinstance(state, Closed):
                failing = bool(model.ends) and model.ends[-1][1]
                counts_all = any(not isinstance(each, Consecutive | FailuresIn) for each in self.policy.trips)
                assert rules.is_calm(state, self.policy) == (not failing and not counts_all)


TestBreakerAgainstModel = BreakerAgainstModel.TestCase
TestBreakerAgainstModel.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
