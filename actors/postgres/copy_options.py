"""How the data of a COPY look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

CopyFormat: TypeAlias = Literal["text", "csv", "binary"]


@attrs.frozen(kw_only=True)
class CopyOptions:
    """As in SQL's COPY; None leaves it to Postgres.

    Attributes:
        format: Text is Postgres's own, with tabs between columns.
        header: The first line has the names of the columns; not for binary.
        delimiter: Between columns.
        null: What stands for NULL.
    """

    format: CopyFormat = "text"
    header: bool = False
    delimiter: str | None = None
    null: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.format not in ("text", "csv", "binary"):
            raise ValueError(f"format must be text, csv or binary, not {self.format!r}")
        if self.format == "binary" and (self.header or self.delimiter or self.null is not None):
            raise ValueError("the binary format has no header, delimiter or null")


@attrs.frozen
class CopyTarget:
    """Where records or bytes go: *table*, some *columns* of it or all, in *schema* or on the search path."""

    table: str
    columns: Sequence[str] | None = None
    schema: str | None = None
