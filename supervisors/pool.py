"""A pool: the same actor several times, each with a part of the work. Elixir's PartitionSupervisor."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Generic, NoReturn, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import attrs

from resprout.runtime import INFINITY, Actor, Life, Name, Ref, TreeError
from resprout.runtime.recipe import is_whole
from resprout.supervisors.errors import ChildError
from resprout.supervisors.intensity import Intensity
from resprout.supervisors.routes import ROUND_ROBIN, Key, Route, least_loaded, partition, round_robin
from resprout.supervisors.spec import GIVE_UP, ChildSpec, OnLimit, SupervisorSpec, child
from resprout.supervisors.strategy import PERMANENT, RestartType
from resprout.supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resprout.runtime import ShutdownTime
    from resprout.runtime.cell import Cell

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class PoolSpec(SupervisorSpec):
    """A pool, as data: *size* members, called ``0``, ``1`` and so on, and how one is chosen."""

    size: int = 1
    route: Route = ROUND_ROBIN

    def check(self, path: str, names: dict[str, str]) -> None:
        """See `Recipe.check`."""
        if not is_whole(self.size, least=1):
            raise TreeError(f"{path}: size must be a whole number >= 1, not {self.size!r}; correct it")
        if not isinstance(self.route, Route):
            raise TreeError(f"{path}: unknown route {self.route!r}; use BY_KEY, ROUND_ROBIN or LEAST_LOADED")
        if any(spec.name is not None for spec in self.children):
            raise TreeError(f"{path}: its members cannot share a name; give the pool one")
        super().check(path, names)


class PoolSupervisor(Supervisor):
    """Runs the members of a pool: always the same number, or keys would change their member."""

    async def on_start(self) -> None:
        """Members do not need each other, and stop all at once."""
        self.context.cell.parallel = True
        await super().on_start()

    async def start_child(self, spec: ChildSpec) -> str:
        """Refused: raises `ChildError`."""
        self._refuse()

    async def delete_child(self, id: str) -> None:
        """Refused: raises `ChildError`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ChildError(self.context.path, "a pool keeps its size; change it in the tree")


class Pool(Generic[A]):
    """A typed constant that leads to the members of a pool, as a `Name` leads to one actor.

    >>> WORKERS = Pool(Actor, "workers")
    >>> WORKERS
    Pool(Actor, 'workers')
    """

    def __init__(self, cls: type[A], key: str) -> None:
        self._cls = cls
        self.name = Name(PoolSupervisor, key)
        # By running pool, so that each begins with its first member.
        self._turns: WeakKeyDictionary[Cell, int] = WeakKeyDictionary()

    def by_key(self, key: Key) -> Ref[A]:
        """The member that *key* belongs to, the same in every process with a pool of this size.

        Raises:
            NotFoundError: The pool does not run.
            TypeError: *key* is neither int, str nor bytes.
        """
        members = self._members()
        return Ref(members[partition(key, len(members))])

    def next(self) -> Ref[A]:
        """The member that the pool's route chooses now; one that is down only if all are.

        Raises:
            NotFoundError: The pool does not run.
            TypeError: The pool's route is `BY_KEY`, so that each message needs a key.
        """
        home = self.name._find()
        members = self._members()
        turn = self._turns.get(home, 0)
        up = [member.life is Life.RUNNING for member in members]
        match cast("PoolSpec", home.recipe).route:
            case Route.ROUND_ROBIN:
                chosen = round_robin(up, turn)
            case Route.LEAST_LOADED:
                chosen = least_loaded(up, [_load(member) for member in members], turn)
            case Route.BY_KEY:
                raise TypeError(f"{home.path} routes by key: use by_key(…) to choose a member")
        self._turns[home] = chosen + 1
        return Ref(members[chosen])

    def all(self) -> list[Ref[A]]:
        """Every member, in order."""
        return [Ref(member) for member in self._members()]

    async def call(
        self, method: Callable[Concatenate[A, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call the `next` member; see `Ref.call`."""
        return await self.next().call(method, *args, **kwargs)

    def cast(
        self, method: Callable[Concatenate[A, P], Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Cast to the `next` member; see `Ref.cast`."""
        self.next().cast(method, *args, **kwargs)

    def _members(self) -> list[Cell]:
        return list(self.name._find().children.values())

    def __repr__(self) -> str:
        return f"Pool({self._cls.__name__}, {self.name.key!r})"


def pool(
    id: str,
    member: Callable[[], A] | ChildSpec,
    *,
    name: Pool[A] | None = None,
    size: int | None = None,
    route: Route = ROUND_ROBIN,
    intensity: int = 3,
    period: float = 5.0,
    on_limit: OnLimit = GIVE_UP,
    restart: RestartType = PERMANENT,
    shutdown: ShutdownTime = INFINITY,
) -> SupervisorSpec:
    """The same actor *size* times, under a supervisor of its own; they stop all at once.

    A member that restarts keeps its place and its mail.

    Args:
        id: Its name among its siblings; its members are called ``0``, ``1`` and so on.
        member: The actor's class or what makes it, or a `child` with other settings, whose id does not count.
        name: A `Pool` that leads to its members.
        size: How many members; by default as many as this process may use cores.
        route: How a member is chosen where no key is given: `ROUND_ROBIN`, `LEAST_LOADED`, or `BY_KEY` for not
            at all.
        intensity: Restarts tolerated within *period* seconds, all members together.
        period: See there.
        on_limit: As for `supervisor`.
        restart: As for `child`.
        shutdown: As for `child`.
    """
    count = len(os.sched_getaffinity(0)) if size is None else size
    one = member if isinstance(member, ChildSpec) else child(id, member)
    wanted = range(count) if is_whole(count, least=1) else ()  # Else it is refused when the tree is checked.
    draft = PoolSpec(
        id=id,
        start=_unset,
        start_timeout=INFINITY,
        name=cast("Name[Actor] | None", name and name.name),
        children=tuple(attrs.evolve(one, id=str(number)) for number in wanted),
        intensity=Intensity(intensity, period),
        on_limit=on_limit,
        restart=restart,
        shutdown=shutdown,
        size=count,
        route=route,
    )
    return attrs.evolve(draft, start=partial(PoolSupervisor, draft))


def _unset() -> Actor:
    raise LookupError("a draft cannot start")


def _load(cell: Cell) -> int:
    """Messages that wait, and the one in work."""
    now = cell.incarnation
    return len(cell.mailbox) + (now is not None and now.current is not None)
