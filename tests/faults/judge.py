"""The judge: compares what callers were told with what the server holds. Pure: no clock, no socket."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from tests.faults.history import Call, Kind, Outcome

GRACE = 0.5  # Seconds by which a call may end after its deadline.


@attrs.frozen
class Truth:
    """What the server holds in the end, looked up without resprout.

    Attributes:
        held: Each value that was written, as often as it is there.
        count: The counter.
    """

    held: Counter[str] = attrs.field(factory=Counter)
    count: int = 0


@attrs.frozen
class Violation:
    """A broken law, with one example of how it was broken."""

    law: str
    times: int
    example: str

    def __str__(self) -> str:
        return f"{self.law}: {self.times}, such as {self.example}"


def judge(calls: Sequence[Call], truth: Truth, *, grace: float = GRACE) -> list[Violation]:
    """Every law that the history breaks.

    Args:
        calls: The whole history.
        truth: What the server holds after it.
        grace: Seconds a call may take beyond its deadline.
    """
    held, invoked = truth.held, {call.value for call in calls if call.kind is Kind.WRITE}
    findings: dict[str, Iterable[str]] = {
        "a call never ended": _each(calls, lambda call: call.outcome is None),
        "a call ended late": _each(calls, lambda call: _late(call, grace)),
        "an error without a type": _each(calls, lambda call: not call.typed),
        "a foreign reply": _each(
            calls, lambda call: _is(call, Kind.ASK, Outcome.OK) and call.reply != call.value
        ),
        "a lost acknowledged write": _each(
            calls, lambda call: _is(call, Kind.WRITE, Outcome.OK) and not held[call.value]
        ),
        "a write ran though it was said to have failed": _each(
            calls, lambda call: _is(call, Kind.WRITE, Outcome.FAILED) and bool(held[call.value])
        ),
        "a write ran twice": [value for value, times in held.items() if times > 1],
        "the server holds what nobody wrote": [value for value in held if value not in invoked],
        "a count was given to two callers": _shared_counts(calls),
        "the counter is wrong": _wrong_count(calls, truth.count),
    }
    found = ((law, list(examples)) for law, examples in findings.items())
    return [Violation(law, len(examples), examples[0]) for law, examples in found if examples]


def _each(calls: Iterable[Call], breaks: Callable[[Call], bool]) -> Iterator[str]:
    return (str(call) for call in calls if breaks(call))


def _is(call: Call, kind: Kind, outcome: Outcome) -> bool:
    return call.kind is kind and call.outcome is outcome


def _late(call: Call, grace: float) -> bool:
    return call.ended_at is not None and call.ended_at > call.deadline + grace


def _shared_counts(calls: Iterable[Call]) -> list[str]:
    given = Counter(call.reply for call in calls if _is(call, Kind.COUNT, Outcome.OK))
    return [f"the count {reply}" for reply, times in given.items() if times > 1]


def _wrong_count(calls: Iterable[Call], count: int) -> list[str]:
    """The count lies between the calls that were answered and those that can have run."""
    ended = Counter(call.outcome for call in calls if call.kind is Kind.COUNT)
    least = ended[Outcome.OK]
    most = least + ended[Outcome.UNKNOWN] + ended[None]
    return [] if least <= count <= most else [f"{count}, not between {least} and {most}"]


@attrs.frozen
class Recovery:
    """How fast good answers came back, in seconds after the fault was over; None for never.

    Attributes:
        first: Until the first good answer to a call that was made after the fault.
        well: Until the last call that was not answered well. A caller that left by itself does not count.
    """

    first: float | None
    well: float | None


def recovery(calls: Iterable[Call], healed_at: float, *, quiet: float = 1.0) -> Recovery:
    """When the calls became well again after *healed_at*; for good, if they are for *quiet* seconds at the end."""
    after = [call for call in calls if call.ended_at is not None and call.ended_at >= healed_at]
    good = [call.ended_at for call in after if call.outcome is Outcome.OK and call.invoked_at >= healed_at]
    bad = [call.ended_at for call in after if call.outcome is not Outcome.OK and not call.cancelled]
    times = [time for time in good if time is not None]
    last_bad = max((time for time in bad if time is not None), default=healed_at)
    well = bool(times) and max(times) >= last_bad + quiet
    return Recovery(
        first=min(times) - healed_at if times else None,
        well=max(last_bad, min(times)) - healed_at if well else None,
    )
