"""`resprout check`: the tree and the time it may take to stop, with nothing started."""

import json
import math
from pathlib import Path

from resprout import (
    BRUTAL_KILL,
    INFINITY,
    Actor,
    ChildSpec,
    child,
    dynamic_supervisor,
    supervisor,
    task_supervisor,
)
from resprout.outline import check_tree
from tests.cli.command import resprout, write_module


class Idle(Actor):
    """Does nothing."""


def idle(id: str, shutdown: float) -> ChildSpec:
    return child(id, Idle, shutdown=shutdown)


def test_children_stop_one_after_the_other() -> None:
    tree = supervisor("app", idle("a", 2), supervisor("deep", idle("b", 3), idle("c", 4)))
    assert check_tree(tree).stops_within == 9


def test_a_supervisor_is_cut_short_by_its_own_shutdown_time() -> None:
    assert check_tree(supervisor("app", supervisor("deep", idle("a", 9), shutdown=4))).stops_within == 4


def test_a_brutal_kill_takes_no_time_and_no_limit_is_infinite() -> None:
    killed = child("killed", Idle, shutdown=BRUTAL_KILL)
    assert check_tree(supervisor("app", killed)).stops_within == 0
    assert check_tree(supervisor("app", killed, idle("slow", INFINITY))).stops_within == math.inf


def test_children_made_at_runtime_are_counted_once_because_they_stop_together() -> None:
    outline = check_tree(supervisor("app", idle("a", 2), dynamic_supervisor("sessions")))
    assert outline.stops_within == 7
    assert outline.children[1].open_ended


def test_tasks_are_counted_with_the_time_their_supervisor_gives_them() -> None:
    assert check_tree(supervisor("app", task_supervisor("jobs", task_shutdown=30))).stops_within == 30


SHOP = """
class Till(Actor):
    async def on_start(self):
        print("started")

app = supervisor("app", child("till", Till, shutdown=INFINITY), strategy=REST_FOR_ONE)
"""


def test_the_tree_is_printed_and_not_started(tmp_path: Path) -> None:
    write_module(tmp_path, SHOP)
    checked = resprout(tmp_path, "check", "shop:app")
    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [
        "app  Supervisor  permanent  rest_for_one  3 restarts in 5 s  stops without limit",
        "└── till  Till  permanent  stops without limit",
        "",
        "2 places; stops without limit at worst.",
    ]


def test_json_is_one_document_in_which_no_limit_is_null(tmp_path: Path) -> None:
    write_module(tmp_path, SHOP)
    outline = json.loads(resprout(tmp_path, "check", "shop:app", "--json").stdout)
    assert (outline["path"], outline["stops_within"]) == ("app", None)
    assert [place["path"] for place in outline["children"]] == ["app/till"]
