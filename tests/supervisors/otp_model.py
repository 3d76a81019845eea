"""OTP's supervisor as a few lists, written from its documentation and not from our code: a model for tests.

Starts and stops take no time here. Every restart since the beginning is kept and counted anew each time. What
OTP has not (delays between restarts, pauses at the limit) is a retry on a list of things to do later.
"""

from __future__ import annotations

import attrs

from resprout import ONE_FOR_ALL, ONE_FOR_ONE, PERMANENT, TEMPORARY, RestartType, Strategy


@attrs.define
class ModelChild:
    """*delay*: seconds before it is restarted; *state* as `ChildInfo` says it; *added* while all ran."""

    id: str
    restart: RestartType
    delay: float = 0.0
    significant: bool = False
    state: str = "stopped"
    added: bool = False


@attrs.define
class ModelSupervisor:
    """Its options, its children, and what has happened so far.

    *cool*: first and longest pause at the limit, or None to give up there. *failing*: how many of the next
    starts of a child raise.
    """

    strategy: Strategy
    intensity: int
    period: float
    auto_shutdown: str
    cool: tuple[float, float] | None = None
    children: list[ModelChild] = attrs.field(factory=list)
    failing: dict[str, int] = attrs.field(factory=dict)
    journal: list[str] = attrs.field(factory=list)
    restarts: list[float] = attrs.field(factory=list)
    pauses: list[tuple[float, float]] = attrs.field(factory=list)  # Begin and length.
    due: list[tuple[float, ModelChild]] = attrs.field(factory=list)
    now: float = 0.0
    ended: str = ""  # Why, once it has.
    tie: bool = False  # Two things were due at the same moment; who comes first is nobody's promise.

    # What happens to it.

    def crash(self, id: str) -> None:
        self._note_stop(self.child(id))
        self._ended_by_itself(self.child(id), clean=False)

    def finish(self, id: str, *, killed: bool) -> None:
        if not killed:
            self._note_stop(self.child(id))
        self._ended_by_itself(self.child(id), clean=not killed)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self.due and not self.ended and min(self.due, key=lambda job: job[0])[0] <= until:
            moment = min(job[0] for job in self.due)
            first, *others = [job for job in self.due if job[0] == moment]
            self.tie = self.tie or bool(others)
            self.due.remove(first)
            self.now = moment
            self._start_again(first[1])
        self.now = until

    # What it is asked. Each returns the name of the error, or nothing.

    def start_child(self, child: ModelChild) -> str:
        if self.has(child.id):
            return "AlreadyStarted" if self.child(child.id).state == "running" else "AlreadyPresent"
        child.added = True
        self.children.append(child)
        if not self._start(child):
            self.children.remove(child)
            return "ChildStartFailed"
        return ""

    def terminate_child(self, id: str) -> str:
        if not self.has(id):
            return "ChildNotFound"
        child = self.child(id)
        self._order_down(child)
        child.state = "stopped"
        if child.restart is TEMPORARY:
            self.children.remove(child)
        # Whoever was down with it, and whom no other retry will bring back, stays down as well.
        for other in self.children:
            if other.state == "restarting" and not any(other in self._group(job[1]) for job in self.due):
                other.state = "stopped"
        return ""

    def restart_child(self, id: str) -> str:
        refused = self._unless_stopped(id)
        if refused:
            return refused
        return "" if self._start(self.child(id)) else "ChildStartFailed"

    def delete_child(self, id: str) -> str:
        refused = self._unless_stopped(id)
        if not refused:
            self.children.remove(self.child(id))
        return refused

    def cycle_child(self, id: str) -> str:
        if not self.has(id):
            return "ChildNotFound"
        child = self.child(id)
        if child.restart is TEMPORARY and child.added:
            return "ChildError"
        self._order_down(child)
        if self._start(child):
            return ""
        if child.restart is TEMPORARY:
            self.children.remove(child)
        return "ChildStartFailed"

    def retry_child(self, id: str) -> str:
        if not self.has(id):
            return "ChildNotFound"
        child = self.child(id)
        if child.state != "restarting":
            return {"running": "ChildRunning", "stopped": "ChildStopped"}[child.state]
        jobs = [job for job in self.due if job[1] is child] or list(self.due)
        self.tie = self.tie or len(jobs) > 1
        for job in jobs:
            self.due.remove(job)
            self._start_again(job[1])
        return ""

    # What can be seen of it.

    def has(self, id: str) -> bool:
        return any(child.id == id for child in self.children)

    def child(self, id: str) -> ModelChild:
        return next(child for child in self.children if child.id == id)

    def running(self) -> list[str]:
        return [child.id for child in self.children if child.state == "running"]

    # Its rules.

    def _ended_by_itself(self, child: ModelChild, *, clean: bool) -> None:
        child.state = "stopped"
        if child.restart is PERMANENT or (child.restart is not TEMPORARY and not clean):
            self._restart(child, delay=child.delay)
            return
        others = [other for other in self.children if other is not child]
        if child.restart is TEMPORARY:
            self.children = others
        if child.significant and self.auto_shutdown != "never":
            alive = [other for other in others if other.significant and other.state != "stopped"]
            if self.auto_shutdown == "any_significant" or not alive:
                self._end("auto_shutdown")

    def _restart(self, child: ModelChild, *, delay: float) -> None:
        child.state = "restarting"
        self.restarts.append(self.now)
        if sum(at >= self.now - self.period for at in self.restarts) <= self.intensity:
            if delay:
                self.due.append((self.now + delay, child))
            else:
                self._start_again(child)
        elif self.cool is None:
            self._end("reached max restart intensity")
        else:
            self.restarts.clear()
            self.due.append((self.now + self._pause(*self.cool), child))

    def _pause(self, first: float, longest: float) -> float:
        length = first
        if self.pauses:
            begin, last = self.pauses[-1]
            if self.now <= begin + last + longest:
                length = min(longest, last * 2)
        self.pauses.append((self.now, length))
        return length

    def _start_again(self, failed: ModelChild) -> None:
        group = self._group(failed)
        for child in reversed(group):
            if child is not failed:
                was_running = child.state == "running"
                self._order_down(child)
                if child.restart is TEMPORARY:
                    self.children.remove(child)
                elif was_running:
                    child.state = "restarting"
        for child in group:
            if child in self.children and not self._start(child, on_failure="restarting"):
                self._restart(child, delay=child.delay)
                return

    def _group(self, failed: ModelChild) -> list[ModelChild]:
        if self.strategy is ONE_FOR_ONE:
            return [failed]
        if self.strategy is ONE_FOR_ALL:
            return list(self.children)
        return self.children[self.children.index(failed) :]

    def _start(self, child: ModelChild, on_failure: str = "stopped") -> bool:
        self.due = [job for job in self.due if job[1] is not child]
        if self.failing.get(child.id, 0) > 0:
            self.failing[child.id] -= 1
            self.journal.append(f"{child.id} failed")
            child.state = on_failure
            return False
        self.journal.append(f"+{child.id}")
        child.state = "running"
        return True

    def _order_down(self, child: ModelChild) -> None:
        self.due = [job for job in self.due if job[1] is not child]
        if child.state == "running":
            self._note_stop(child)

    def _note_stop(self, child: ModelChild) -> None:
        self.journal += [f"?{child.id}", f"-{child.id}"]

    def _end(self, why: str) -> None:
        for child in reversed(self.children):
            self._order_down(child)
        self.ended = why

    def _unless_stopped(self, id: str) -> str:
        if not self.has(id):
            return "ChildNotFound"
        return {"stopped": "", "restarting": "ChildRestarting", "running": "ChildRunning"}[
            self.child(id).state
        ]
