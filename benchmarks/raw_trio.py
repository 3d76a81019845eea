"""The baselines: the same work hand-written on raw trio, with awaited `send` and `receive` on channels.

Each function does *count* operations and returns seconds per operation: the median wall time of one where
latency is meant, the processor time of all divided by their number where a rate is meant. Where a workload
leaves its raw form open we took the cheapest that a careful programmer would write without cleverness, and
its docstring says which.
"""

import statistics
import time
from collections.abc import Awaitable, Callable

import attrs
import trio
import trio.testing

BATCH, PRODUCERS, BURST = 64, 100, 20


async def latency(operation: Callable[[], Awaitable[object]], count: int) -> float:
    """Median wall time of one *operation*, in seconds."""
    clock, times = time.perf_counter, []
    for _ in range(count):
        start = clock()
        await operation()
        times.append(clock() - start)
    return statistics.median(times)


async def call(count: int) -> float:
    """W1: a request over one channel, the reply over another; the server adds two numbers."""
    async with trio.open_nursery() as nursery:
        requests, inbox = trio.open_memory_channel[int](1)
        outbox, replies = trio.open_memory_channel[int](1)

        async def serve() -> None:
            total = 0
            async for amount in inbox:
                total += amount
                await outbox.send(total)

        async def ask() -> None:
            await requests.send(1)
            await replies.receive()

        nursery.start_soon(serve)
        result = await latency(ask, count)
        nursery.cancel_scope.cancel()
    return result


async def cast(count: int) -> float:
    """W2: one producer, one consumer, a channel with room for 1,000."""
    producer, consumer = trio.open_memory_channel[int](1_000)

    async def produce() -> None:
        async with producer:
            for number in range(count):
                await producer.send(number)

    async def consume() -> None:
        total = 0
        async for amount in consumer:
            total += amount

    return await _processor_time(produce, consume) / count


async def batched_cast(count: int) -> float:
    """W2 again, by somebody who knows what checkpoints cost: batches of 64 without waiting."""
    producer, consumer = trio.open_memory_channel[int](1_000)

    async def produce() -> None:
        async with producer:
            for number in range(count):
                try:
                    producer.send_nowait(number)
                except trio.WouldBlock:
                    await producer.send(number)

    async def consume() -> None:
        total = 0
        async for first in consumer:
            total += first
            try:
                for _ in range(BATCH - 1):
                    total += consumer.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                pass

    return await _processor_time(produce, consume) / count


async def restart(count: int) -> float:
    """W6: crash to first answer. A loop opens a nursery per incarnation and waits for its start."""
    requests, inbox = trio.open_memory_channel[bool](1)
    outbox, replies = trio.open_memory_channel[int](1)

    async def child(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async for crash in inbox:
            if crash:
                raise RuntimeError
            await outbox.send(1)

    async def supervise() -> None:
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(child)
            except* RuntimeError:
                pass

    async def crash_and_ask() -> None:
        await requests.send(True)
        await requests.send(False)
        await replies.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise)
        result = await latency(crash_and_ask, count)
        nursery.cancel_scope.cancel()
    return result


@attrs.frozen
class Spawned:
    """Seconds per actor, by the clock on the wall and of the processor: to start it; to start and stop it."""

    start: float
    both: float
    start_cpu: float
    both_cpu: float


class Stopwatch:
    """Seconds per actor since it was made."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Wall time and processor time."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return wall / self._count, cpu / self._count


async def spawn(count: int) -> Spawned:
    """W5, all stopped at once: *count* tasks with a mailbox, each start acknowledged with `nursery.start`.

    Stopped by closing every mailbox, which is cheaper than cancelling; the nursery waits for the ends.
    """

    async def child(inbox: trio.MemoryReceiveChannel[int], task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async for _ in inbox:
            pass

    watch = Stopwatch(count)
    async with trio.open_nursery() as nursery:
        mailboxes = []
        for _ in range(count):
            mailbox, inbox = trio.open_memory_channel[int](1_000)
            mailboxes.append(mailbox)
            await nursery.start(child, inbox)
        start, start_cpu = watch.read()
        for mailbox in reversed(mailboxes):
            mailbox.close()
    both, both_cpu = watch.read()
    return Spawned(start, both, start_cpu, both_cpu)


async def spawn_in_order(count: int) -> Spawned:
    """W5, stopped in reverse order: as `spawn`, but each end is awaited before the next mailbox is closed."""

    async def child(
        inbox: trio.MemoryReceiveChannel[int], over: trio.Event, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        async for _ in inbox:
            pass
        over.set()

    watch = Stopwatch(count)
    async with trio.open_nursery() as nursery:
        children = []
        for _ in range(count):
            mailbox, inbox = trio.open_memory_channel[int](1_000)
            over = trio.Event()
            children.append((mailbox, over))
            await nursery.start(child, inbox, over)
        start, start_cpu = watch.read()
        for mailbox, over in reversed(children):
            mailbox.close()
            await over.wait()
    both, both_cpu = watch.read()
    return Spawned(start, both, start_cpu, both_cpu)


async def fan_in(count: int) -> float:
    """W3: as `cast`, with 100 producers and one consumer on one channel."""
    producer, consumer = trio.open_memory_channel[int](1_000)

    async def produce(mine: trio.MemorySendChannel[int]) -> None:
        async with mine:
            for number in range(count // PRODUCERS):
                await mine.send(number)

    async def produce_all() -> None:
        async with producer, trio.open_nursery() as nursery:
            for _ in range(PRODUCERS):
                nursery.start_soon(produce, producer.clone())

    async def consume() -> None:
        total = 0
        async for amount in consumer:
            total += amount

    return await _processor_time(produce_all, consume) / count


async def ring(count: int, stations: int = 1_000) -> float:
    """W4: one token goes round *stations* tasks for *count* hops; each has a channel with room for one.

    Processor time per hop, without the making of the ring.
    """
    over = trio.Event()

    async def station(inbox: trio.MemoryReceiveChannel[int], following: trio.MemorySendChannel[int]) -> None:
        async for left in inbox:
            if left:
                await following.send(left - 1)
            else:
                over.set()

    channels = [trio.open_memory_channel[int](1) for _ in range(stations)]
    async with trio.open_nursery() as nursery:
        for number, (_, inbox) in enumerate(channels):
            nursery.start_soon(station, inbox, channels[(number + 1) % stations][0])
        await trio.testing.wait_all_tasks_blocked()
        start = time.process_time()
        await channels[0][0].send(count)
        await over.wait()
        used = time.process_time() - start
        nursery.cancel_scope.cancel()
    return used / count


async def bursts(count: int, tasks: int) -> float:
    """W7: *count* bursts of 20 to one of *tasks* waiting tasks after the other; processor time per message."""
    total = 0

    async def child(inbox: trio.MemoryReceiveChannel[int]) -> None:
        nonlocal total
        async for amount in inbox:
            total += amount

    async with trio.open_nursery() as nursery:
        mailboxes = []
        for _ in range(tasks):
            mailbox, inbox = trio.open_memory_channel[int](1_000)
            mailboxes.append(mailbox)
            nursery.start_soon(child, inbox)
        await trio.testing.wait_all_tasks_blocked()
        start = time.process_time()
        for number in range(count):
            mailbox = mailboxes[number % tasks]
            for _ in range(BURST):
                await mailbox.send(1)
        await trio.testing.wait_all_tasks_blocked()
        used = time.process_time() - start
        assert total == count * BURST
        nursery.cancel_scope.cancel()
    return used / (count * BURST)


async def _processor_time(*tasks: Callable[[], Awaitable[None]]) -> float:
    start = time.process_time()
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
    return time.process_time() - start
