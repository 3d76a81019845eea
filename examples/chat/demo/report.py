"""The end of the demo: one table for a person, or one JSON object for a program."""

import attrs
from rich.console import Console
from rich.table import Table

from examples.chat.demo.audit import Findings
from examples.chat.demo.books import Books, Service


@attrs.frozen
class Report:
    """Everything the demo found out."""

    books: Books
    findings: Findings
    orphan_processes: int
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        services = self.books.services.values()
        return not (
            any(attrs.astuple(self.findings))
            or self.orphan_processes
            or self.books.broken_promises
            or any(service.surprises or not service.answered for service in services)
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        books = self.books
        return {
            "ok": self.kept,
            "seconds": round(self.seconds, 1),
            **attrs.asdict(self.findings),
            "orphan_processes": self.orphan_processes,
            "services": {name: _service(service) for name, service in sorted(books.services.items())},
            "messages": {
                "accepted": sum(len(ids) for ids in books.accepted.values()),
                "delivered": books.delivered,
                "redelivered": books.repeated,
            },
            "broken_promises": [
                *books.broken_promises,
                *(f"{s.name}: {surprise}" for s in books.services.values() for surprise in s.surprises[:3]),
            ],
        }

    def print(self, console: Console) -> None:
        """For a person."""
        console.print(self._services())
        facts = self.as_json()
        for line in _sentences(self.books, self.findings, self.orphan_processes):
            console.print(line)
        for promise in facts["broken_promises"]:  # type: ignore[attr-defined] # A list, see above.
            console.print(f"broken: {promise}", style="red")
        verdict = "every promise was kept" if self.kept else "A PROMISE WAS BROKEN"
        console.print(f"{verdict} ({self.seconds:.0f} s)", style="bold green" if self.kept else "bold red")

    def _services(self) -> Table:
        table = Table(title="What the users of the chat saw", title_justify="left")
        for title in ("service", "outages", "back after (s)", "answered", "refused", "unknown"):
            table.add_column(title, justify="left" if title in ("service", "back after (s)") else "right")
        for name, service in sorted(self.books.services.items()):
            back = " ".join(f"{seconds:.2f}" for seconds in service.recovery_seconds)
            numbers = (service.answered, service.refused, service.unknown)
            table.add_row(name, str(service.outages), back, *map(str, numbers))
        return table


def _service(service: Service) -> dict[str, object]:
    return {
        "outages": service.outages,
        "recovery_seconds": [round(seconds, 3) for seconds in service.recovery_seconds],
        "answered": service.answered,
        "refused": service.refused,
        "unknown": service.unknown,
    }


def _sentences(books: Books, findings: Findings, orphans: int) -> list[str]:
    accepted = sum(len(ids) for ids in books.accepted.values())
    return [
        "refused: a typed error, nothing was done. unknown: sent, but no answer came; it may have been done.",
        f"messages: {accepted} accepted, {books.delivered} delivered to {len(books.received)} clients, "
        f"{books.repeated} delivered again and recognised",
        f"wrong replies {findings.wrong_replies}, lost acknowledged writes {findings.lost_writes}, "
        f"lost messages {findings.lost_messages}, reordered messages {findings.reordered_messages}, "
        f"processes left behind {orphans}",
    ]
