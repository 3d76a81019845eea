"""State machines against a model of gen_statem: whatever events ask for, both handle the same in the same order.

The model is written from OTP's description: a queue of received events, a mailbox of events not yet received,
postponed events, zero timeouts, and timers. It shares no code with the implementation.
"""

import math
from functools import partial

import attrs
import trio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import Name, StateMachine, child, open_runtime, supervisor

STATES = "abc"
PAUSE = 1 / 1024  # So that no event comes at the moment of a timeout.


@attrs.frozen
class Act:
    """Something an event asks for: `become` a state, `postpone`, `repeat`, `insert` or a timeout by its name."""

    kind: str
    to: str = "a"
    seconds: float = 0.0
    event: "Deed | None" = None


@attrs.frozen
class Deed:
    """An event, and what it asks for in each state."""

    label: int
    acts: dict[str, tuple[Act, ...]]


Line = tuple[object, ...]


@attrs.define
class Toy(StateMachine[str]):
    log: list[Line]
    on_entry: dict[str, tuple[Act, ...]]

    def initial(self) -> str:
        return "a"

    async def on_enter(self, old: str, new: str) -> None:
        self.log.append((trio.current_time(), "enter", old, new, self.state))
        for act in self.on_entry.get(new, ()):
            self.do(act)

    async def deed(self, deed: Deed) -> None:
        self.log.append((trio.current_time(), deed.label, self.state))
        for act in deed.acts[self.state]:
            self.do(act)

    def do(self, act: Act) -> None:
        match act.kind:
            case "become":
                self.become(act.to)
            case "repeat":
                self.repeat_state()
            case "postpone":
                self.postpone()
            case "insert":
                assert act.event is not None
                self.next_event(Toy.deed, act.event)
            case "state":
                assert act.event is not None
                self.state_timeout(act.seconds, Toy.deed, act.event)
            case "event":
                assert act.event is not None
                self.event_timeout(act.seconds, Toy.deed, act.event)
            case name:
                assert act.event is not None
                self.named_timeout(name, act.seconds, Toy.deed, act.event)


class Model:
    """gen_statem in small."""

    def __init__(self, on_entry: dict[str, tuple[Act, ...]]) -> None:
        self.on_entry = on_entry
        self.log: list[Line] = []
        self.now, self.state = 0.0, "a"
        self.mailbox: list[tuple[str | None, Deed]] = []  # Not received; timers that rang among them.
        self.queue: list[Deed] = []
        self.postponed: list[Deed] = []
        self.zero: list[tuple[str, Deed]] = []
        self.timers: list[tuple[float, str, Deed]] = []
        self.finish("a", [], entered=True, changed=False)

    def finish(self, old: str, asked: list[Act], *, entered: bool, changed: bool) -> None:
        if entered:
            self.log.append((self.now, "enter", old, self.state, self.state))
            asked = [*asked, *self.on_entry.get(self.state, ())]
        self.cancel("event")
        if changed:
            self.cancel("state")
            self.queue[:0] = self.postponed
            self.postponed = []
        seen: set[str] = set()
        wanted = []
        for act in reversed(asked):
            if act.kind not in seen:
                seen.add(act.kind)
                wanted.insert(0, act)
        for act in wanted:
            self.cancel(act.kind)
        for act in wanted:
            assert act.event is not None
            if act.seconds == 0:
                self.zero.append((act.kind, act.event))
            elif act.seconds != math.inf:
                self.timers.append((self.now + act.seconds, act.kind, act.event))

    def cancel(self, kind: str) -> None:
        self.zero = [entry for entry in self.zero if entry[0] != kind]
        self.timers = [entry for entry in self.timers if entry[1] != kind]
        self.mailbox = [entry for entry in self.mailbox if entry[0] != kind]

    def handle(self, deed: Deed) -> None:
        self.log.append((self.now, deed.label, self.state))
        assume(len(self.log) < 300)  # Some go on for ever, in OTP too.
        inserted: list[Deed] = []
        asked: list[Act] = []
        old, new, repeat = self.state, self.state, False
        for act in deed.acts[self.state]:
            if act.kind == "postpone":
                self.postponed.append(deed)
                break
            if act.kind == "become":
                new = act.to
            elif act.kind == "repeat":
                repeat = True
            elif act.kind == "insert":
                assert act.event is not None
                inserted.append(act.event)
            else:
                asked.append(act)
        self.state = new
        self.finish(old, asked, entered=repeat or new != old, changed=new != old)
        self.queue[:0] = inserted

    def settle(self) -> None:
        while True:
            if self.queue:
                self.handle(self.queue.pop(0))
            elif self.zero:
                self.handle(self.zero.pop(0)[1])
            elif self.mailbox:
                self.handle(self.mailbox.pop(0)[1])
            else:
                return

    def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and min(self.timers, key=lambda timer: timer[0])[0] <= until:
            self.now = min(timer[0] for timer in self.timers)
            rings = [timer for timer in self.timers if timer[0] == self.now]
            self.timers = [timer for timer in self.timers if timer[0] != self.now]
            self.mailbox += [(kind, deed) for _, kind, deed in rings]
            self.settle()
        self.now = until


SECONDS = st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0, math.inf])
TIMEOUTS = st.sampled_from(["state", "event", "one", "two"])


def deeds(depth: int) -> st.SearchStrategy[Deed]:
    plain = st.builds(Act, st.just("become"), to=st.sampled_from(STATES)) | st.builds(
        Act, st.sampled_from(["postpone", "repeat"])
    )
    acts = plain
    if depth:
        below = deeds(depth - 1)
        acts = (
            plain
            | st.builds(Act, st.just("insert"), event=below)
            | st.builds(Act, TIMEOUTS, seconds=SECONDS, event=below)
        )
    some = {state: st.lists(acts, max_size=3).map(partial(ending, state)) for state in STATES}
    return st.builds(Deed, st.integers(0, 10**6), st.fixed_dictionaries(some))


def ending(state: str, acts: list[Act]) -> tuple[Act, ...]:
    """*acts* without what postpones for ever: an event that changes the state to be tried again and again."""
    leads_back = any(act.kind == "become" and act.to < state for act in acts)
    return tuple(act for act in acts if act.kind != "postpone" or not leads_back)


ENTRIES = st.dictionaries(
    st.sampled_from(STATES),
    st.lists(
        st.builds(Act, TIMEOUTS, seconds=st.sampled_from([1.0, 2.0, math.inf]), event=deeds(0)), max_size=2
    ).map(tuple),
)
STEPS = st.lists(st.tuples(st.lists(deeds(2), max_size=4), st.integers(0, 4)), max_size=6)


@settings(deadline=None, max_examples=30)
@given(steps=STEPS, on_entry=ENTRIES)
def test_a_state_machine_does_what_the_model_does(
    steps: list[tuple[list[Deed], int]], on_entry: dict[str, tuple[Act, ...]]
) -> None:
    log: list[Line] = []
    model = Model(on_entry)
    for batch, seconds in steps:
        model.mailbox += [(None, deed) for deed in batch]
        model.settle()
        model.sleep(seconds + PAUSE)

    async def scenario() -> None:
        toy = Name(Toy, "toy")
        async with open_runtime(
            supervisor("app", child("toy", partial(Toy, log, on_entry), name=toy))
        ) as runtime:
            for batch, seconds in steps:
                for deed in batch:
                    toy.cast(Toy.deed, deed)
                await wait_all_tasks_blocked()
                await trio.sleep(seconds + PAUSE)
            await wait_all_tasks_blocked()
            assert runtime.snapshot().children[0].restarts == 0

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert log == model.log
