"""The main job, started as a user would start it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.real
def test_the_demo_breaks_everything_and_keeps_every_promise() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.chat.demo", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    promises = ("wrong_replies", "lost_writes", "lost_messages", "reordered_messages", "orphan_processes")
    assert {name: found[name] for name in promises} == dict.fromkeys(promises, 0)
    assert set(found["services"]) == {"auth", "chat", "mcp", "postgres", "redis", "trending", "websocket"}
    for name, service in found["services"].items():
        assert service["outages"] == len(service["recovery_seconds"]) > 0, (name, service)
        assert service["answered"] > 50, (name, service)
    assert found["services"]["redis"]["outages"] == 3
    assert found["messages"]["accepted"] > 50
    assert found["messages"]["delivered"] >= found["messages"]["accepted"]
    assert "every promise was kept" in done.stderr
