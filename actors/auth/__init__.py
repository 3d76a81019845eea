"""Verifying tokens through a service that may fail, without ever failing for good."""

from resprout.actors.auth.actor import Authenticator
from resprout.actors.auth.client import AuthClient
from resprout.actors.auth.desk import AuthDesk, GraceUsed, InvalidToken, Verifier, VerifierFailed
from resprout.actors.auth.policy import AuthPolicy

__all__ = [
    "AuthClient",
    "AuthDesk",
    "AuthPolicy",
    "Authenticator",
    "GraceUsed",
    "InvalidToken",
    "Verifier",
    "VerifierFailed",
]
