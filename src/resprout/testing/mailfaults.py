"""The mail of a simulation: every call is watched, and some messages and answers meet a fault of the plan."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from resprout.runtime import ActorError, Address, CallTimeoutError
from resprout.testing.plans import Decision, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resprout.runtime import System
    from resprout.testing.watching import Watcher

CASTS = frozenset((Fault.LOSE_CAST, Fault.DELAY_CAST))
CALLS = frozenset((Fault.LOSE_CALL, Fault.DELAY_CALL, Fault.LOSE_REPLY))


class MailFaults:
    """What the next message to each path meets."""

    def __init__(self) -> None:
        self._watched: tuple[System, Watcher] | None = None
        self._casts: dict[str, Decision] = {}
        self._calls: dict[str, Decision] = {}

    def begin(self, runtime: System, watcher: Watcher) -> None:
        """The tree stands: from now on mail is watched and hindered."""
        self._watched = runtime, watcher

    def expect(self, decision: Decision) -> None:
        """Let the next message of its kind meet *decision*."""
        (self._casts if decision.fault in CASTS else self._calls)[decision.path] = decision

    def clear(self) -> None:
        """No more faults."""
        self._casts.clear()
        self._calls.clear()

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """For the length of the block, the mail of the whole process comes through here."""
        call, cast, send = Address.call, Address.cast, Address.send

        async def watched_call(address: Any, method: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await self._call(partial(call, address, method, *args, **kwargs), address, method)

        def hindered_cast(address: Any, method: Any, /, *args: Any, **kwargs: Any) -> None:
            if not self._hinders(address, partial(cast, address, method, *args, **kwargs)):
                cast(address, method, *args, **kwargs)

        async def hindered_send(address: Any, method: Any, /, *args: Any, **kwargs: Any) -> None:
            if self._hinders(address, partial(cast, address, method, *args, **kwargs)):
                await trio.lowlevel.checkpoint()
            else:
                await send(address, method, *args, **kwargs)

        Address.call = watched_call  # type: ignore[method-assign]  # for this block
        Address.cast = hindered_cast  # type: ignore[method-assign]  # for this block
        Address.send = hindered_send  # type: ignore[method-assign]  # for this block
        try:
            yield
        finally:
            Address.call, Address.cast, Address.send = call, cast, send  # type: ignore[method-assign]  # as it was

    def _hinders(self, address: Any, arrive: Callable[[], None]) -> bool:
        """Whether the cast to *address* is lost, or will *arrive* later."""
        decision = self._casts.pop(address.path, None) if self._casts else None
        if decision is None or self._watched is None:
            return False
        if decision.fault is Fault.DELAY_CAST:
            self._watched[0].clock.at(trio.current_time() + decision.seconds, partial(_late, arrive))
        return True

    async def _call(self, call: Callable[[], Any], address: Any, method: Any) -> Any:
        if self._watched is None:
            return await call()
        decision = self._calls.pop(address.path, None) if self._calls else None
        key, until = object(), trio.current_time() + address._timeout
        calls = self._watched[1].calls
        calls[key] = (method.__qualname__, until)
        try:
            match decision:
                case None:
                    return await call()
                case Decision(fault=Fault.LOSE_REPLY):
                    await call()  # If it raises, that is not the answer which is lost.
                    await trio.sleep_until(until)
                    raise CallTimeoutError(address.path, address._timeout, started=True)
                case Decision(fault=Fault.DELAY_CALL, seconds=seconds) if seconds < address._timeout:
                    await trio.sleep(seconds)
                    with trio.fail_at(until):
                        return await call()
                case _:
                    await trio.sleep_until(until)
                    raise CallTimeoutError(address.path, address._timeout, started=False)
        except trio.TooSlowError:
            raise CallTimeoutError(address.path, address._timeout, started=False) from None
        finally:
            del calls[key]


def _late(arrive: Callable[[], None]) -> None:
    with suppress(ActorError):  # Its sender has gone on; there is nobody to be told.
        arrive()
