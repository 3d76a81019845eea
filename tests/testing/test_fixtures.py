"""The fixtures of the kit, used as a user would: in a conftest of their own."""

import pytest

pytest_plugins = ["pytester"]

GOOD = """
import pytest, trio
from resprout import Actor, ActorStarted, Name, child

class Echo(Actor):
    async def echo(self, word: str) -> str:
        return word

ECHO = Name(Echo, "echo")

@pytest.fixture
def tree():
    return child("app", Echo, name=ECHO)

@pytest.mark.trio
async def test_a_tree_runs_on_virtual_time(runtime, events, autojump_clock) -> None:
    await trio.sleep(3600)
    assert await ECHO.call(Echo.echo, "hi") == "hi"
    assert runtime.ref("app") == runtime.ref("app")
    assert events.exits("app") == []
"""

NO_TREE = """
import pytest

@pytest.mark.trio
async def test_nothing(runtime, autojump_clock) -> None:
    pass
"""


def test_a_test_finds_its_tree_running(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["resprout.testing.fixtures"]')
    pytester.makepyfile(GOOD)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_missing_tree_is_told_with_the_next_step(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["resprout.testing.fixtures"]')
    pytester.makepyfile(NO_TREE)
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(errors=1)
    assert "define one that returns it" in ran.stdout.str()
