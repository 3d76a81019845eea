"""The baselines: the same work hand-written on raw trio, with awaited `send` and `receive` on channels.

Each function does *count* operations and returns seconds per operation: the median wall time of one where
latency is meant, the processor time of all divided by their number where a rate is meant.
"""

import statistics
import time
from collections.abc import Awaitable, Callable

import trio

BATCH = 64


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


async def spawn(count: int) -> tuple[float, float]:
    """W5: start *count* tasks with a mailbox, each start acknowledged; then the same and their end."""

    async def child(inbox: trio.MemoryReceiveChannel[int], task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async for _ in inbox:
            pass

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        mailboxes = []
        for _ in range(count):
            mailbox, inbox = trio.open_memory_channel[int](1_000)
            mailboxes.append(mailbox)
            await nursery.start(child, inbox)
        started = time.perf_counter() - start
        for mailbox in reversed(mailboxes):
            await mailbox.aclose()
    return started / count, (time.perf_counter() - start) / count


async def _processor_time(*tasks: Callable[[], Awaitable[None]]) -> float:
    start = time.process_time()
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
    return time.process_time() - start
