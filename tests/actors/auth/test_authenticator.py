from collections.abc import Callable
from functools import partial

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout.actors.auth import (
    AuthClient,
    Authenticator,
    AuthPolicy,
    GraceUsed,
    InvalidToken,
    VerifierFailed,
)
from resprout.runtime import Event, Name, Recipe, errors, open_runtime
from resprout.runtime.breaker_events import BreakerChanged
from resprout.runtime.breaker_rules import Closed, Open
from resprout.runtime.breakers import breakers
from resprout.supervisors import child, supervisor


@attrs.define
class Sessions:
    """A session service: knows some tokens, may be down, slow or broken."""

    known: dict[str, str] = attrs.field(factory=lambda: {"t1": "ann", "t2": "bob"})
    error: Exception | None = None
    takes: float = 0.01
    asked: list[str] = attrs.field(factory=list)
    busy: int = 0
    busiest: int = 0

    async def verify(self, token: str) -> str:
        self.asked.append(token)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await trio.sleep(self.takes)
        finally:
            self.busy -= 1
        if self.error is not None:
            raise self.error
        if token not in self.known:
            raise InvalidToken
        return self.known[token]


class ExplosiveAuthenticator(Authenticator[str]):
    """Can be crashed by a message."""

    async def explode(self) -> None:
        raise RuntimeError("boom")


AUTH: Name[ExplosiveAuthenticator] = Name(ExplosiveAuthenticator, "auth")


def auth_tree(sessions: Sessions, policy: AuthPolicy | None = None) -> Recipe:
    start = partial(ExplosiveAuthenticator, sessions.verify, policy=policy or AuthPolicy())
    return supervisor("app", child("auth", start, name=AUTH))


async def verify_times(auth: AuthClient[str], times: int, expected: type[Exception]) -> None:
    for _ in range(times):
        with pytest.raises(expected):
            await auth.verify("t1")


async def test_a_good_token_gives_an_identity_and_a_bad_one_a_typed_error(autojump_clock: MockClock) -> None:
    async with open_runtime(auth_tree(Sessions())):
        auth = AuthClient(AUTH)
        assert await auth.verify("t1") == "ann"
        with pytest.raises(InvalidToken):
            await auth.verify("forged")


async def test_any_number_of_bad_tokens_leaves_the_breaker_closed(autojump_clock: MockClock) -> None:
    async with open_runtime(auth_tree(Sessions())):
        auth = AuthClient(AUTH)
        for number in range(50):
            with pytest.raises(InvalidToken):
                await auth.verify(f"forged {number}")
        breaker = breakers().find("auth")
        assert breaker is not None
        assert isinstance(breaker.state, Closed)


async def test_a_failing_service_opens_the_breaker_and_a_healthy_one_closes_it(
    autojump_clock: MockClock,
) -> None:
    sessions, events = Sessions(error=ConnectionRefusedError("down")), list[Event]()
    async with open_runtime(auth_tree(sessions), seed=1) as runtime:
        runtime.events.subscribe(events.append)
        auth = AuthClient(AUTH)
        await verify_times(auth, 5, errors.Unavailable)
        with pytest.raises(errors.CircuitOpen) as rejected:
            await auth.verify("t1")
        assert len(sessions.asked) == 5
        breaker = breakers().find("auth")
        assert breaker is not None
        assert breaker.stats.rejected == 1
        assert rejected.value.retry_after is not None
        sessions.error = None
        await trio.sleep(rejected.value.retry_after)
        assert await auth.verify("t1") == "ann"
    changes = [event for event in events if isinstance(event, BreakerChanged)]
    assert [event.new.name for event in changes] == ["open", "half_open", "closed"]
    assert {event.actor for event in changes} == {"app/auth"}


async def test_verifications_run_side_by_side_up_to_the_limit(autojump_clock: MockClock) -> None:
    sessions = Sessions(known={str(n): f"user {n}" for n in range(100)}, takes=1.0)
    async with open_runtime(auth_tree(sessions, AuthPolicy(max_concurrent=50))):
        auth = AuthClient(AUTH)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(auth.verify, str(number))
        assert trio.current_time() == pytest.approx(2.0)
        assert sessions.busiest == 50


async def test_callers_with_the_same_token_share_one_run(autojump_clock: MockClock) -> None:
    sessions, got = Sessions(takes=1.0), list[str]()

    async def ask(auth: AuthClient[str]) -> None:
        got.append(await auth.verify("t1"))

    async with open_runtime(auth_tree(sessions)):
        auth = AuthClient(AUTH)
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.5):
                nursery.start_soon(ask, auth)
                nursery.start_soon(ask, auth)
                await auth.verify("t1")  # This caller gives up early and harms nobody.
        assert got == ["ann", "ann"]
        assert sessions.asked == ["t1"]
        assert await auth.verify("t1") == "ann"
        assert sessions.asked == ["t1", "t1"]  # Nothing is cached while the service answers.


async def test_impatient_callers_cannot_hide_a_hanging_service_from_the_breaker(
    autojump_clock: MockClock,
) -> None:
    sessions = Sessions(takes=1000.0)
    async with open_runtime(auth_tree(sessions)):
        auth = AuthClient(AUTH)
        for number in range(5):
            with pytest.raises(errors.DeadlineExceeded):
                await auth.verify(f"t{number}", timeout=0.5)
        await trio.sleep(6)
        with pytest.raises(errors.CircuitOpen):
            await auth.verify("t1")


async def test_too_many_waiting_tokens_are_refused_at_once(autojump_clock: MockClock) -> None:
    sessions = Sessions(takes=1.0)
    async with open_runtime(auth_tree(sessions, AuthPolicy(max_concurrent=1, max_waiting=2))):
        auth = AuthClient(AUTH)
        refused = list[errors.PoolExhausted]()

        async def ask(token: str) -> None:
            try:
                await auth.verify(token, timeout=10)
            except errors.PoolExhausted as error:
                refused.append(error)
            except InvalidToken:
                pass

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, str(number))
        assert len(refused) == 10 - 3


async def test_the_breaker_survives_a_crash_of_the_authenticator(autojump_clock: MockClock) -> None:
    sessions = Sessions(error=ConnectionRefusedError("down"))
    async with open_runtime(auth_tree(sessions)):
        auth = AuthClient(AUTH)
        await verify_times(auth, 5, errors.Unavailable)
        AUTH.cast(ExplosiveAuthenticator.explode)
        await trio.sleep(0.1)
        with pytest.raises(errors.CircuitOpen):
            await auth.verify("t1")


async def test_a_crash_wakes_those_who_wait_with_a_typed_error(autojump_clock: MockClock) -> None:
    async with open_runtime(auth_tree(Sessions(takes=3.0))), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(errors.Unavailable, match="restarted"):
                await AuthClient(AUTH).verify("t1")
            assert trio.current_time() == pytest.approx(1.0)

        nursery.start_soon(ask)
        await trio.sleep(1.0)
        AUTH.cast(ExplosiveAuthenticator.explode)


async def test_a_bug_in_the_verifier_is_loud_but_costs_only_its_own_callers(
    autojump_clock: MockClock,
) -> None:
    sessions, events = Sessions(error=KeyError("user")), list[Event]()
    async with open_runtime(auth_tree(sessions)) as runtime:
        runtime.events.subscribe(events.append)
        auth = AuthClient(AUTH)
        await verify_times(auth, 20, errors.Unavailable)
        sessions.error = None
        assert await auth.verify("t1") == "ann"
        assert runtime.snapshot().children[0].restarts == 0
    assert len([event for event in events if isinstance(event, VerifierFailed)]) == 20


async def test_without_grace_nobody_passes_while_the_service_is_away(autojump_clock: MockClock) -> None:
    sessions = Sessions()
    async with open_runtime(auth_tree(sessions)):
        auth = AuthClient(AUTH)
        assert await auth.verify("t1") == "ann"
        sessions.error = ConnectionRefusedError("down")
        await verify_times(auth, 5, errors.Unavailable)
        await verify_times(auth, 1, errors.CircuitOpen)


async def test_with_grace_known_tokens_pass_for_a_time_while_the_service_is_away(
    autojump_clock: MockClock,
) -> None:
    sessions, events = Sessions(), list[Event]()
    async with open_runtime(auth_tree(sessions, AuthPolicy(grace=300.0))) as runtime:
        runtime.events.subscribe(events.append)
        auth = AuthClient(AUTH)
        assert await auth.verify("t1") == "ann"
        assert await auth.verify("t2") == "bob"
        sessions.error = ConnectionRefusedError("down")
        for _ in range(10):
            assert await auth.verify("t1") == "ann"
        with pytest.raises(errors.ServiceError):
            await auth.verify("never seen")
        auth.forget("t2")
        with pytest.raises(errors.ServiceError):
            await auth.verify("t2")
        await trio.sleep(301)
        with pytest.raises(errors.ServiceError):
            await auth.verify("t1")
    assert len([event for event in events if isinstance(event, GraceUsed)]) == 10


async def test_a_refused_token_gets_no_grace(autojump_clock: MockClock) -> None:
    sessions = Sessions()
    async with open_runtime(auth_tree(sessions, AuthPolicy(grace=300.0))):
        auth = AuthClient(AUTH)
        assert await auth.verify("t1") == "ann"
        del sessions.known["t1"]
        with pytest.raises(InvalidToken):
            await auth.verify("t1")
        sessions.error = ConnectionRefusedError("down")
        with pytest.raises(errors.Unavailable):
            await auth.verify("t1")


async def test_a_token_that_is_revoked_while_it_is_verified_gets_no_grace(autojump_clock: MockClock) -> None:
    valid = {"t1": "ann"}

    async def verify(token: str) -> str:
        identity = valid.get(token)
        await trio.sleep(1.0)  # The answer is on its way.
        if identity is None:
            raise ConnectionRefusedError("down")
        return identity

    start = partial(ExplosiveAuthenticator, verify, policy=AuthPolicy(grace=300.0))
    async with (
        open_runtime(supervisor("app", child("auth", start, name=AUTH))),
        trio.open_nursery() as nursery,
    ):
        auth = AuthClient(AUTH)
        nursery.start_soon(auth.verify, "t1")
        await trio.sleep(0.5)
        valid.clear()
        auth.forget("t1")
        for _ in range(2):  # Neither shares the run from before, nor lives on what it brought.
            with pytest.raises(errors.Unavailable):
                await auth.verify("t1")


async def test_no_token_shows_up_in_the_tree_tasks_events_or_errors(autojump_clock: MockClock) -> None:
    sessions, seen = Sessions(takes=1.0), list[str]()
    secret = "s3cret-canary"
    async with (
        open_runtime(auth_tree(sessions, AuthPolicy(grace=60.0))) as runtime,
        trio.open_nursery() as nursery,
    ):
        runtime.events.subscribe(lambda event: seen.append(repr(event)))

        async def ask() -> None:
            try:
                await AuthClient(AUTH).verify(secret)
            except (InvalidToken, errors.ServiceError) as error:
                seen.append(repr(error) + str(error))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        seen.append(repr(runtime.snapshot()))
        seen.extend(task.name for task in all_tasks())
        await trio.sleep(2)
        sessions.error = OSError("down")
        await ask()
    assert not [text for text in seen if secret in text]


def all_tasks() -> list[trio.lowlevel.Task]:
    found, left = list[trio.lowlevel.Task](), [trio.lowlevel.current_root_task()]
    while left:
        task = left.pop()
        if task is not None:
            found.append(task)
            left.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found


@pytest.mark.parametrize("early", [True, False])
async def test_a_check_closes_the_breaker_without_any_user(autojump_clock: MockClock, early: bool) -> None:
    from resprout.actors.auth import AuthDesk

    sessions = Sessions(error=ConnectionRefusedError("down"))
    async with open_runtime(auth_tree(sessions)):
        await verify_times(AuthClient(AUTH), 5, errors.Unavailable)
        desk = AUTH.offered(AuthDesk)
        assert desk is not None
        assert "open" in desk.trouble()
        with pytest.raises(errors.Unavailable):
            await desk.check()
        assert isinstance(desk.breaker.state, Open)
        if not early:
            await trio.sleep(40)
        sessions.error = None
        await desk.check()
        assert isinstance(desk.breaker.state, Closed)
        assert desk.trouble() == ""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: AuthPolicy(timeout=0),
        lambda: AuthPolicy(timeout=float("inf")),
        lambda: AuthPolicy(probe_every=0),
        lambda: AuthPolicy(max_token_chars=0),
        lambda: AuthPolicy(grace=-1),
        lambda: AuthPolicy(grace=float("nan")),
        lambda: AuthPolicy(max_concurrent=0),
        lambda: AuthPolicy(cache_size=0),
        lambda: AuthPolicy(max_waiting=-1),
    ],
)
def test_a_policy_that_lets_nothing_pass_is_refused(wrong: Callable[[], AuthPolicy]) -> None:
    with pytest.raises(ValueError, match="must"):
        wrong()


async def test_the_breaker_closes_without_users_and_without_a_monitor(autojump_clock: MockClock) -> None:
    sessions = Sessions(error=ConnectionRefusedError("down"))
    async with open_runtime(auth_tree(sessions)):
        await verify_times(AuthClient(AUTH), 5, errors.Unavailable)
        await trio.sleep(3600)
        assert 3600 / 11 < len(sessions.asked) < 3600 / 9 + 10  # Bounded, and it never gave up.
        sessions.error = None
        await trio.sleep(11.1)
        breaker = breakers().find("auth")
        assert breaker is not None
        assert isinstance(breaker.state, Closed)
        asked = len(sessions.asked)
        await trio.sleep(3600)
        assert len(sessions.asked) == asked  # Nobody is asked without need.


async def test_a_breaker_that_was_open_before_a_crash_is_still_closed_without_users(
    autojump_clock: MockClock,
) -> None:
    sessions = Sessions(error=ConnectionRefusedError("down"))
    async with open_runtime(auth_tree(sessions)):
        await verify_times(AuthClient(AUTH), 5, errors.Unavailable)
        AUTH.cast(ExplosiveAuthenticator.explode)
        await trio.sleep(0.1)
        sessions.error = None
        await trio.sleep(11.1)
        breaker = breakers().find("auth")
        assert breaker is not None
        assert isinstance(breaker.state, Closed)


async def test_a_service_that_flaps_every_two_seconds_costs_users_no_more_than_typed_errors(
    autojump_clock: MockClock,
) -> None:
    sessions = Sessions()

    async def flap() -> None:
        while True:
            await trio.sleep(2)
            sessions.error = None if sessions.error else ConnectionResetError("flap")

    async with open_runtime(auth_tree(sessions)) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(flap)
        answered, told = 0, list[float | None]()
        for _ in range(3600):
            await trio.sleep(1)
            try:
                assert await AuthClient(AUTH).verify("t1") == "ann"
            except errors.ServiceError as error:
                told.append(error.retry_after)
            else:
                answered += 1
        assert answered > 100
        assert None not in told
        assert runtime.snapshot().children[0].restarts == 0
        nursery.cancel_scope.cancel()


async def test_a_verifier_brings_its_own_probe(autojump_clock: MockClock) -> None:
    class Probed(Sessions):
        probed = 0

        async def __call__(self, token: str) -> str:
            return await self.verify(token)

        async def probe(self) -> None:
            await trio.lowlevel.checkpoint()
            self.probed += 1
            if self.error:
                raise self.error

    sessions = Probed(error=ConnectionRefusedError("down"))
    tree = supervisor("app", child("auth", partial(ExplosiveAuthenticator, sessions), name=AUTH))
    async with open_runtime(tree):
        await verify_times(AuthClient(AUTH), 5, errors.Unavailable)
        await trio.sleep(60)
        assert len(sessions.asked) == 5
        assert sessions.probed >= 5
