"""The message loop with nothing in it but what a message needs: what all that nobody looks at is measured with.

It waits for mail, calls the method, answers, obeys a stop order and checkpoints in the same batches as the real
one. It keeps no account of the message in work and skips no withdrawn call; nothing can be traced, watched or
counted, and no error can be a reply. What the real loop costs more is the price of those tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from trio.lowlevel import checkpoint, wait_task_rescheduled

from resprout.runtime.actor import Actor, protocol_of
from resprout.runtime.exits import ExitReason
from resprout.runtime.incarnation import BATCH, Incarnation
from resprout.runtime.message import Call
from resprout.runtime.signals import StopOrder


async def _serve(self: Incarnation, actor: Actor) -> ExitReason:
    mailbox, queue = self.cell.mailbox, self.cell.mailbox.queue
    handlers = protocol_of(type(actor))
    left = BATCH
    while True:
        if mailbox.control:
            signal = mailbox.control.popleft()
            if type(signal) is StopOrder:
                return signal.reason
            await actor.on_signal(signal)
            continue
        if not queue:
            mailbox.sleeper = self.cell.task
            await wait_task_rescheduled(mailbox.abort_sleep)
            left = BATCH
            continue
        message = queue.popleft()
        if mailbox.blocked and len(queue) <= mailbox.ebb:
            mailbox.admit()
        result = await handlers[message.method](actor, *message.args, **message.kwargs)
        if type(message) is Call:
            message.reply(result)
        left -= 1
        if left <= 0:
            left = BATCH
            await checkpoint()


@contextmanager
def bare_loop() -> Iterator[None]:
    """Let actors that start within the block run the bare loop."""
    real = Incarnation._serve
    Incarnation._serve = _serve  # type: ignore[method-assign]  # What is measured is the loop without the rest.
    try:
        yield
    finally:
        Incarnation._serve = real  # type: ignore[method-assign]
