"""`/metrics`, `/livez` and `/readyz` over HTTP."""

try:
    import anycorn as _anycorn  # noqa: F401 - only to name the extra if one is missing.
    import prometheus_client as _prometheus_client  # noqa: F401
    import starlette as _starlette  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError(
        "resprout.actors.http needs anycorn, starlette and prometheus-client: pip install 'resprout[web]'"
    ) from _error

from resprout.actors.http.actor import HttpEndpoint, HttpListening, ListenFailed, Listening
from resprout.actors.http.server import HttpLimits

__all__ = ["HttpEndpoint", "HttpLimits", "HttpListening", "ListenFailed", "Listening"]
