"""No public signature says `Any`: what users call, read and get is typed all the way.

Read from the sources: every class and function that a package lists in `__all__`, with the public methods,
properties and attributes of the class, its constructor, and what it inherits from our own private classes.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import resprout

ALLOWED = {
    "RedisClient.execute_command": "its arguments and result are redis-py's, whose signature this is",
    "RedisPipeline.execute_command": "as above",
    "RedisPipeline.execute": "the results of redis-py's commands, each of another type",
    "RedisTransaction.execute_command": "as RedisClient.execute_command",
    "RedisTransaction.execute": "as RedisPipeline.execute",
    "RedisClient.transact": "as RedisPipeline.execute",
    "RedisScript.__call__": "what a Lua script returns, as in redis-py",
}


def test_no_public_signature_says_any() -> None:
    found = {where for package in packages() for where in open_ends(package)}
    assert found - ALLOWED.keys() == set()


def test_every_exception_is_still_needed() -> None:
    found = {where for package in packages() for where in open_ends(package)}
    assert ALLOWED.keys() - found == set()


def test_an_any_is_found_wherever_it_hides() -> None:
    source = """
class Base:
    async def inherited(self) -> list[Any]: ...

class Public(Base):
    told: "Any"
    async def plain(self, value: int) -> str: ...
    def given(self, *args: Any) -> None: ...
    def _private(self, value: Any) -> None: ...
    def __init__(self, options: dict[str, typing.Any]) -> None: ...
    @property
    def seen(self) -> Callable[..., Any]: ...
"""
    tree = ast.parse(source)
    public = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Public")
    assert set(_of_class("Public", public)) == {
        "Public.told",
        "Public.given",
        "Public.__init__",
        "Public.seen",
    }


def packages() -> Iterator[str]:
    """Every package of ours that lists what it promises."""
    yield "resprout"
    for found in pkgutil.walk_packages(resprout.__path__, "resprout."):
        if found.ispkg and hasattr(importlib.import_module(found.name), "__all__"):
            yield found.name


def open_ends(package: str) -> Iterator[str]:
    """Where a public name of *package* says `Any`."""
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        for part in inspect.getmro(thing) if inspect.isclass(thing) else (thing,):
            if part.__module__.partition(".")[0] == "resprout":
                yield from _of(name, inspect.unwrap(part))


def _of(name: str, thing: type | object) -> Iterator[str]:
    file = inspect.getsourcefile(thing)  # type: ignore[arg-type] # a class or a function
    definitions = _definitions(Path(file or ""))
    match definitions[thing.__qualname__]:  # type: ignore[attr-defined] # the same
        case ast.ClassDef() as node:
            yield from _of_class(name, node)
        case node:
            yield from (name for _ in range(1) if _says_any(node))


def _of_class(name: str, node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        match member:
            case ast.FunctionDef(name=id) | ast.AsyncFunctionDef(name=id) if _is_public(id) and _says_any(
                member
            ):
                yield f"{name}.{id}"
            case ast.AnnAssign(target=ast.Name(id=id), annotation=said) if _is_public(id) and _is_any(said):
                yield f"{name}.{id}"
            case _:
                pass


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in (
        "__init__",
        "__call__",
        "__getitem__",
        "__iter__",
        "__aenter__",
    )


def _says_any(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    args = node.args
    given = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    said = [node.returns, *(arg.annotation for arg in given if arg is not None)]
    return any(_is_any(annotation) for annotation in said if annotation is not None)


def _is_any(annotation: ast.expr) -> bool:
    for node in ast.walk(annotation):
        match node:
            case ast.Name(id="Any") | ast.Attribute(attr="Any"):
                return True
            case ast.Constant(value=str(quoted)) if node is annotation:
                return _is_any(ast.parse(quoted, mode="eval").body)
            case _:
                pass
    return False


@cache
def _definitions(file: Path) -> dict[str, ast.AST]:
    return {
        node.name: node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
