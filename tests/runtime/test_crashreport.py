"""What an unclean end leaves behind, and what it must not."""

from collections.abc import Mapping

import attrs
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import Actor, ActorExited, Name, Shutdown, child, open_runtime, supervisor


class Hostile:
    """Cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@attrs.define
class Vault(Actor):
    """Holds a secret."""

    password: str = "canary-1"
    seen: str = "canary-2"
    count: int = 7
    bad: object = attrs.field(factory=Hostile)
    refuse: bool = False

    async def fall(self, argument: str) -> None:
        """Crash with a group, while handling another error."""
        try:
            raise KeyError("first")
        except KeyError:
            raise ExceptionGroup("both", [ValueError("a"), ExceptionGroup("in", [OSError("b")])])  # noqa: B904 - the context is the point.

    async def refuse_to_tell(self) -> None:
        """Crash, and do not describe."""
        self.refuse = True
        raise ValueError("x")

    def describe_state(self) -> Mapping[str, object]:
        if self.refuse:
            raise LookupError("no")
        return {"count": self.count, "bad": self.bad, "password": self.password}


VAULT = Name(Vault, "vault")


async def exits_after(*messages: str) -> list[ActorExited]:
    exits: list[ActorExited] = []
    async with open_runtime(supervisor("app", child("vault", Vault, name=VAULT))) as runtime:
        runtime.events.subscribe(lambda e: exits.append(e) if isinstance(e, ActorExited) else None)
        for message in messages:
            if message == "fall":
                VAULT.cast(Vault.fall, "canary-3")
            else:
                VAULT.cast(Vault.refuse_to_tell)
            await wait_all_tasks_blocked()
    return exits


async def test_a_report_has_all_leaves_and_no_value_that_was_not_offered(autojump_clock: MockClock) -> None:
    first, second, *_ = await exits_after("fall", "fall")
    report = first.report
    assert report is not None
    assert report.leaves == ("ValueError: a", "OSError: b")
    assert report.context == ("KeyError: 'first'",)
    assert (report.message, report.ancestors, report.generation) == ("fall", ("app",), 1)
    assert (report.fields["password"], report.fields["count"]) == ("str", "int")
    assert report.described == {
        "count": "7",
        "bad": "cannot be printed: RuntimeError",
        "password": "***",
    }
    assert "canary" not in str(report) + repr(report)
    assert second.report is not None
    assert (second.report.restarts, len(second.report.recent_restarts)) == (1, 1)


async def test_a_description_that_raises_hurts_nobody(autojump_clock: MockClock) -> None:
    first, *_ = await exits_after("refuse_to_tell")
    assert first.report is not None
    assert first.report.described == {"?": "describe_state() raised LookupError"}


async def test_clean_ends_have_no_report(autojump_clock: MockClock) -> None:
    exits = await exits_after()
    assert exits
    assert all(isinstance(e.reason, Shutdown) and e.report is None for e in exits)
