"""Finding the tree that a command names: `package.module:tree`."""

from __future__ import annotations

import importlib
import os
import sys

from resprout.runtime import Recipe, ResproutError


class BadTarget(ResproutError):
    """What the command names cannot be used; the message is one line and names the fix."""


def load_tree(target: str) -> Recipe:
    """Import the tree that *target*, such as ``shop.app:tree``, names; the current directory is searched first.

    Raises:
        BadTarget: The module does not import, has no such name, or that is not a tree.
    """
    module_name, _, attribute = target.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name)
    if not hasattr(module, attribute):
        trees = ", ".join(f"{module_name}:{name}" for name in _trees_in(module)) or "none at all"
        raise BadTarget(f"{target}: module {module_name} has no {attribute!r}; trees in it: {trees}")
    tree = getattr(module, attribute)
    if not isinstance(tree, Recipe):
        kind = type(tree).__name__
        raise BadTarget(f"{target} is no tree but a {kind}; make one with supervisor(…) or child(…)")
    return tree


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadTarget(
                f"{name}: there is no module {error.name!r} here; check the name and the directory"
            ) from error
        raise BadTarget(f"{name} does not import: {error}; install what is missing") from error
    except Exception as error:
        raise BadTarget(
            f"{name} does not import: {type(error).__name__}: {_one_line(error)}; correct it"
        ) from error


def _trees_in(module: object) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Recipe)]


def _one_line(error: Exception) -> str:
    where = _last_place(error)
    return " ".join(str(error).split()) + (f" ({where})" if where else "")


def _last_place(error: Exception) -> str:
    """File and line of the innermost frame that is not the import machinery's; a SyntaxError says it itself."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<frozen") and name not in (__file__, importlib.__file__):
            place = f"{os.path.relpath(name)}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
