"""What the endpoint answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from resprout.actors.metrics import scrape
from resprout.actors.monitor import HealthBoard
from resprout.runtime.errors import NotFoundError
from resprout.runtime.life import Life

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog
    from prometheus_client.registry import Collector
    from starlette.requests import Request

    from resprout.actors.monitor import HealthMonitor
    from resprout.runtime.ref import Address
    from resprout.runtime.system import System

HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


@attrs.frozen
class Pages:
    """`/metrics`, `/livez` and `/readyz` of *system*."""

    system: System
    monitor: Address[HealthMonitor] | None
    more: Sequence[Collector]
    log: structlog.typing.FilteringBoundLogger

    def app(self) -> Starlette:
        """As an ASGI application."""
        routes = [
            Route("/metrics", self._metrics),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
        ]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        return app

    async def _metrics(self, request: Request) -> Response:
        ready = readiness(self.system, self.monitor)["ready"] is True
        accept = request.headers.get("accept", "")
        try:
            body, content_type = await scrape(self.system, accept=accept, ready=ready, more=self.more)
        except Exception:
            self.log.exception("the metrics could not be read")
            return PlainTextResponse("the metrics could not be read; see the log\n", 500, HEADERS)
        return Response(body, headers=HEADERS | {"content-type": content_type})

    async def _livez(self, request: Request) -> Response:
        """Whoever gets this answer knows that the loop turns; what is remote does not matter here."""
        root = self.system.root
        alive = root is not None and root.life is not Life.STOPPED
        return JSONResponse({"alive": alive}, 200 if alive else 503, HEADERS)

    async def _readyz(self, request: Request) -> Response:
        report = readiness(self.system, self.monitor)
        return JSONResponse(report, 200 if report["ready"] is True else 503, HEADERS)


def readiness(system: System, monitor: Address[HealthMonitor] | None) -> dict[str, object]:
    """Whether requests should come here now, and the reasons why not, as plain data."""
    root = system.root
    if root is None or root.life is not Life.RUNNING:
        state = "starting" if root is not None and root.life is Life.STARTING else "draining"
        return {"ready": False, "reasons": [f"the tree is {state}"], "services": {}}
    if monitor is None:
        return {"ready": True, "reasons": [], "services": {}}
    try:
        board = monitor.offered(HealthBoard)
    except NotFoundError as error:
        return {"ready": False, "reasons": [str(error)], "services": {}}
    if board is None:
        return {"ready": False, "reasons": ["the health monitor is restarting"], "services": {}}
    found = board.readiness()
    bad = [f"{name}: {one.why}" for name, one in found.services.items() if one.required and not one.ok]
    return {**found.report(), "reasons": bad}
