"""Reads what Python files import, without running them."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
LAYERS = ("runtime", "supervisors", "actors")  # From the ground up.


@attrs.frozen
class Import:
    """One import: of *module*, dotted, or of *name* from it. A relative one keeps its leading dots."""

    module: str
    name: str
    line: int
    typing_only: bool = False

    @property
    def dotted(self) -> str:
        """Module and name together."""
        return f"{self.module}.{self.name}" if self.name else self.module

    def among(self, modules: Container[str]) -> str:
        """The module that is meant: `from package import module` means the module, not the package."""
        return self.dotted if self.dotted in modules else self.module


def sources(folder: Path) -> dict[str, Path]:
    """Every Python file below *folder*, one of the layers or `src/resprout`, by its module name."""
    prefix = ("resprout",) if folder.name == "resprout" else ("resprout", folder.name)
    found = {}
    for path in sorted(folder.rglob("*.py")):  # rglob does not follow the links to the layers.
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join((*prefix, *(part for part in parts if part != "__init__")))] = path
    return found


def imports_of(path: Path) -> list[Import]:
    """All imports of the file, also those inside functions and those by `import_module("…")`."""
    return list(_walk(ast.parse(path.read_text(), str(path)), typing_only=False))


def _walk(node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    yield from _named_by(node, typing_only)
    for child in ast.iter_child_nodes(node):
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and child in node.body
        yield from _walk(child, typing_only=typing_only or guarded)


def _named_by(node: ast.AST, typing_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(alias.name, "", node.lineno, typing_only)
        case ast.ImportFrom(module=module, names=names, level=level):
            for alias in names:
                yield Import("." * level + (module or ""), alias.name, node.lineno, typing_only)
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            yield Import(module, "", node.lineno, typing_only)
