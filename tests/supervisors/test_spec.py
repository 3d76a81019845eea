"""Mistakes in a tree are found before anything starts, and the message names the child's path and the fix."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from resprout import (
    BRUTAL_KILL,
    GIVE_UP,
    INFINITY,
    ONE_FOR_ALL,
    TEMPORARY,
    TRANSIENT,
    Actor,
    AutoShutdown,
    Backoff,
    ChildSpec,
    CoolDown,
    Name,
    SupervisorSpec,
    TreeError,
    child,
    dynamic_supervisor,
    open_runtime,
    supervisor,
)

KEY = Name(Actor, "key")
fine = partial(child, start=Actor)


def app(*children: ChildSpec, **options: object) -> SupervisorSpec:
    """A tree two levels deep, so that paths have something to say."""
    return supervisor("app", supervisor("shelf", *children, **options))  # type: ignore[arg-type] # wrong on purpose


MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    # What is wrong: the tree, the path in the message, the fix in the message.
    "two ids": (lambda: app(fine("a"), fine("b"), fine("a")), "app/shelf/a", "rename one of them"),
    "empty id": (lambda: app(fine("")), "app/shelf/", "choose another id"),
    "slash in id": (lambda: app(fine("a/b")), "app/shelf/a/b", "choose another id"),
    "id no word": (lambda: app(child(7, Actor)), "app/shelf/7", "choose another id"),  # type: ignore[arg-type]
    "id not hashable": (lambda: app(child(["a"], Actor)), "app/shelf/['a']", "choose another id"),  # type: ignore[arg-type]
    "not callable": (
        lambda: app(child("a", "redis://x")),  # type: ignore[arg-type]
        "app/shelf/a",
        "not callable; pass an Actor class or functools.partial(Class, …)",
    ),
    "an instance": (
        lambda: app(child("a", Actor())),  # type: ignore[arg-type]
        "app/shelf/a",
        "each restart needs a fresh one: pass Actor or partial(Actor, …)",
    ),
    "no spec": (lambda: app(Actor), "app/shelf", "wrap it in child(…) or supervisor(…)"),  # type: ignore[arg-type]
    "a list": (lambda: app([fine("a")]), "app/shelf", "wrap it in child(…) or supervisor(…)"),  # type: ignore[arg-type]
    "name twice": (
        lambda: supervisor("app", app(fine("a", name=KEY)), fine("b", name=KEY)),
        "app/b",
        "is taken by app/app/shelf/a; give one of them another name",
    ),
    "name no Name": (lambda: app(fine("a", name="key")), "app/shelf/a", "use Name(Class, 'key')"),
    "shutdown < 0": (lambda: app(fine("a", shutdown=-1)), "app/shelf/a", "correct it"),
    "shutdown nan": (lambda: app(fine("a", shutdown=math.nan)), "app/shelf/a", "correct it"),
    "shutdown word": (lambda: app(fine("a", shutdown="brutal")), "app/shelf/a", "BRUTAL_KILL"),
    "start_timeout": (lambda: app(fine("a", start_timeout=0)), "app/shelf/a", "correct it"),
    "mailbox": (lambda: app(fine("a", mailbox=0)), "app/shelf/a", "correct it"),
    "mailbox half": (lambda: app(fine("a", mailbox=1.5)), "app/shelf/a", "correct it"),
    "overflow": (lambda: app(fine("a", overflow="block")), "app/shelf/a", "use one of Overflow.BLOCK"),
    "restart": (
        lambda: app(fine("a", restart="always")),
        "app/shelf/a",
        "use PERMANENT, TRANSIENT or TEMPORARY",
    ),
    "backoff": (lambda: app(fine("a", backoff=1.0)), "app/shelf/a", "must be a Backoff or None"),
    "reset_after < 0": (
        lambda: app(fine("a", backoff=Backoff(), reset_after=-1)),
        "app/shelf/a",
        "seconds >= 0 or None",
    ),
    "reset_after alone": (lambda: app(fine("a", reset_after=5)), "app/shelf/a", "give one, or leave it out"),
    "significant permanent": (
        lambda: app(fine("a", significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        "app/shelf/a",
        "make it TRANSIENT or TEMPORARY",
    ),
    "significant never": (
        lambda: app(fine("a", significant=True, restart=TRANSIENT)),
        "app/shelf/a",
        "needs an auto_shutdown of app/shelf other than NEVER; set it there",
    ),
    "strategy": (lambda: app(strategy="one_for_all"), "app/shelf", "use ONE_FOR_ONE, ONE_FOR_ALL or REST_FOR_ONE"),
    "intensity < 0": (lambda: app(intensity=-1), "app/shelf", "a whole number >= 0"),
    "intensity half": (lambda: app(intensity=0.5), "app/shelf", "a whole number >= 0"),
    "period 0": (lambda: app(period=0), "app/shelf", "seconds > 0"),
    "period nan": (lambda: app(period=math.nan), "app/shelf", "seconds > 0"),
    "period word": (lambda: app(period="5"), "app/shelf", "seconds > 0"),
    "on_limit": (lambda: app(on_limit="stay"), "app/shelf", "use GIVE_UP or CoolDown()"),
    "auto_shutdown": (lambda: app(auto_shutdown=True), "app/shelf", "use AutoShutdown.…"),
    "supervisor's own": (lambda: app(shutdown=-1), "app/shelf", "correct it"),
    "max_children": (
        lambda: supervisor("app", dynamic_supervisor("rooms", max_children="3")),  # type: ignore[arg-type]
        "app/rooms",
        "a whole number >= 0 or None",
    ),
    "root": (lambda: child("", Actor), ": a child's id", "choose another id"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_refused_with_path_and_fix_before_anything_starts(mistake: str) -> None:
    make, path, fix = MISTAKES[mistake]
    with pytest.raises(TreeError) as caught:
        async with open_runtime(make()):  # type: ignore[arg-type] # wrong on purpose
            raise AssertionError("it must not start")
    message = str(caught.value)
    assert message.startswith(path)
    assert fix in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "tree",
    [
        app(fine("a", shutdown=0), fine("b", shutdown=BRUTAL_KILL), fine("c", shutdown=INFINITY)),
        app(fine("a", restart=TEMPORARY, significant=True), auto_shutdown=AutoShutdown.ALL_SIGNIFICANT),
        app(fine("a", backoff=Backoff(), mailbox=1), intensity=0, period=0.5, strategy=ONE_FOR_ALL),
        app(on_limit=CoolDown()),
        app(on_limit=GIVE_UP),
        supervisor("app", fine("x"), supervisor("shelf", fine("x"))),  # Ids are unique among siblings only.
        supervisor("app", dynamic_supervisor("rooms", max_children=0)),
        child("alone", Actor),
    ],
)
async def test_what_looks_unusual_but_is_right_starts(tree: ChildSpec) -> None:
    async with open_runtime(tree):
        pass


def test_a_tree_is_plain_data_and_nothing_runs_before_it_is_opened() -> None:
    made: list[str] = []

    class Noisy(Actor):
        def __init__(self) -> None:
            made.append("made")

    tree = supervisor("app", child("a", Noisy), supervisor("shelf", child("b", Noisy)))
    assert [spec.id for spec in tree.children] == ["a", "shelf"]
    assert tree.children[0] == child("a", Noisy)
    assert hash(tree)
    assert made == []
