"""Verifying tokens through a service that may fail, without ever failing for good."""

from resprout.actors.auth.actor import Authenticator
from resprout.actors.auth.client import AuthClient
from resprout.actors.auth.desk import AuthDesk, GraceUsed, VerifierFailed
from resprout.actors.auth.policy import AuthPolicy
from resprout.actors.auth.redis_sessions import RedisSessions
from resprout.actors.auth.verifier import InvalidToken, Probing, Verifier

__all__ = [
    "AuthClient",
    "AuthDesk",
    "AuthPolicy",
    "Authenticator",
    "GraceUsed",
    "InvalidToken",
    "Probing",
    "RedisSessions",
    "Verifier",
    "VerifierFailed",
]
