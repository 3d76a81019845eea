"""The chat as an operator runs it: started, looked into, stopped, killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.chat.settings import Settings
from resprout.actors.process import procfs

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
RESPROUT = Path(sys.executable).with_name("resprout")


class Chat:
    """`resprout run examples.chat:app` with its data below *directory*, and servers of its own or others."""

    def __init__(self, directory: Path, log: str = "log", **environment: str) -> None:
        self.directory = directory
        own = {"CHAT_DATA": directory / "servers", "CHAT_LIVE_PORT": "0", "CHAT_HTTP_PORT": "0"}
        own |= {"XDG_RUNTIME_DIR": directory / "run"}
        self._environment = os.environ | {name: str(value) for name, value in own.items()} | environment
        (directory / "run").mkdir(mode=0o700, exist_ok=True)
        self.log = directory / log
        with self.log.open("w") as lines:
            self.process = subprocess.Popen(
                [RESPROUT, "run", "examples.chat:app"], cwd=ROOT, env=self._environment, stderr=lines
            )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RESPROUT, *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def says(self, *words: str) -> str:
        """Wait for a line of the log that has all *words*."""
        return eventually(
            lambda: next((line for line in self.log.read_text().splitlines() if has(line, words)), "")
        )

    def is_ready(self) -> None:
        url = self.says("HttpListening").rpartition("url=")[2]
        eventually(lambda: status_of(f"{url}/readyz") == 200)

    def family(self) -> tuple[procfs.Identity, ...]:
        """The process and everything it started."""
        return procfs.family(self.process.pid)

    def ends(self) -> int:
        return self.process.wait(timeout=20)


def has(line: str, words: tuple[str, ...]) -> bool:
    return all(word in line for word in words)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def eventually(found: Callable[[], object], within: float = 20.0) -> str:
    end = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return str(answer)


@pytest.fixture
def chat(passable_tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    """Starts chats, all with the same data; what a test leaves running is killed."""
    started: list[Chat] = []

    def start(log: str = "log", **environment: str) -> Chat:
        started.append(Chat(passable_tmp_path, log, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            try:
                one.process.wait(15)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


def none_lives(family: tuple[procfs.Identity, ...]) -> bool:
    return not any(procfs.alive(one) for one in family)


def test_it_is_looked_into_killed_and_started_again_and_leaves_nothing_behind(
    chat: Callable[..., Chat],
) -> None:
    first = chat()
    first.is_ready()
    tree = json.loads(first.command("tree", "--json").stdout)
    assert [child["id"] for child in tree["children"]][:3] == ["http", "servers", "connections"]
    redis = json.loads(first.command("info", "chat/connections/redis", "--json").stdout)
    assert redis["place"]["facts"]["state"] == "ready"
    restarted = first.command("restart", "chat/connections/redis")
    assert restarted.stdout == "chat/connections/redis was restarted: incarnation 1 → 2\n"
    refused = first.command("restart", "chat")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "restart the process instead" in refused.stderr

    family = first.family()
    assert len(family) > 5
    first.process.kill()
    assert first.ends() == -signal.SIGKILL
    eventually(lambda: none_lives(family))

    second = chat()
    second.is_ready()
    assert "[error" not in second.log.read_text()
    third = chat(log="third")
    assert third.ends() == 1
    last = third.log.read_text().splitlines()[-1]
    assert last.startswith("resprout: the tree did not start: ")
    assert "is in use by another program" in last
    family = second.family()
    second.process.send_signal(signal.SIGINT)
    second.says("Stopping", "SIGINT")
    second.process.send_signal(signal.SIGINT)
    assert second.ends() in (0, 130)  # 0 if it was quicker than we.
    eventually(lambda: none_lives(family))

    fourth = chat()
    fourth.is_ready()
    family = fourth.family()
    fourth.process.send_signal(signal.SIGTERM)
    assert fourth.ends() == 0
    assert none_lives(family)
    assert "Traceback" not in fourth.log.read_text()


def test_servers_that_cannot_be_reached_are_told_loudly_without_passwords(chat: Callable[..., Chat]) -> None:
    one = chat(
        CHAT_REDIS_URL="redis://:s3cret@127.0.0.1:1", CHAT_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/x"
    )
    for service in ("redis", "postgres"):
        told = one.says("[warning", "AttemptFailed", f"service={service}", "refused", "retry_after=")
        assert "127.0.0.1" in told
    url = one.says("HttpListening").rpartition("url=")[2]
    assert (status_of(f"{url}/livez"), status_of(f"{url}/readyz")) == (200, 503)
    one.process.terminate()
    assert one.ends() == 0
    assert "s3cret" not in one.log.read_text()


def test_a_setting_that_can_never_work_is_one_line_and_exit_code_78(chat: Callable[..., Chat]) -> None:
    one = chat(CHAT_DATABASE_URL="postgresql://u:s3cret@db:port/x")
    assert one.ends() == 78
    told = one.log.read_text()
    assert told.count("\n") == 1
    assert "CHAT_DATABASE_URL" in told
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CHAT_REDIS_URL", "http://:s3cret@x"), ("CHAT_HTTP_PORT", "http"), ("CHAT_LIVE_PORT", "70000")],
)
def test_a_wrong_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable) as caught:
        Settings.from_environment({variable: value})
    assert "s3cret" not in str(caught.value)


def test_an_empty_setting_is_none() -> None:
    names = ("CHAT_REDIS_URL", "CHAT_DATABASE_URL", "CHAT_DATA", "CHAT_HTTP_PORT")
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings()
