"""Who is calling: passwords, signed tokens, and what a role may do to which order.

Which role may call which route stands in the routes themselves (`routing.route`), enforced in one place there.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, get_args
from uuid import UUID

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from eventlet import tpool

from contracts.errors import Forbidden, Unauthenticated

Role = Literal["subscriber", "dispatcher", "technician", "operator"]

ROLES: frozenset[Role] = frozenset(get_args(Role))
STAFF: frozenset[Role] = ROLES - {"subscriber"}

MIN_KEY_LENGTH = 32
TOKENS_REMEMBERED = 4096
ISSUER = "oss-gateway"
_ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a valid token. `subject` is a staff user name, or `subscriber:<order_id>`.

    `order_id` is set for subscribers (the one order they may see), `technician_id` for technicians. `since` is when the
    token was made; a subscriber's proves that their order was accepted, at whichever gateway.
    """

    subject: str
    role: Role
    expires_at: datetime
    order_id: UUID | None = None
    technician_id: str | None = None
    since: datetime | None = field(default=None, compare=False)

    @property
    def accepted_at(self) -> datetime | None:
        """When the order was accepted that this caller is the subscriber of; None for staff."""
        return self.since if self.role == "subscriber" else None

    def check_owns(self, order_id: UUID) -> None:
        """Raise Forbidden where a subscriber asks for an order that is not theirs. Staff own every order."""
        if self.role == "subscriber" and self.order_id != order_id:
            raise Forbidden("this order belongs to somebody else")


class Tokens:
    """Signs and reads tokens (JWT, RFC 7519). The first key signs; all keys verify, so keys can be rotated."""

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise ValueError("TOKEN_KEY is not set: give one or more secrets, separated by commas, the newest first")
        for key in keys:
            if len(key) < MIN_KEY_LENGTH:
                raise ValueError(f"each key in TOKEN_KEY needs at least {MIN_KEY_LENGTH} characters")
        self._signing = _key_id(keys[0])
        self._keys = {_key_id(key): key for key in keys}
        # Who calls calls again. What was signed once stays so; only whether it has expired is asked each time.
        self._verified = functools.lru_cache(maxsize=TOKENS_REMEMBERED)(self._verify)

    @classmethod
    def from_text(cls, text: str) -> Tokens:
        """Keys from a setting: separated by commas, the newest first."""
        return cls([key.strip() for key in text.split(",") if key.strip()])

    def issue(self, caller: Caller, issued_at: datetime) -> str:
        """The signed token of `caller`; the same caller and times give the same token."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": caller.subject,
            "role": caller.role,
            "iat": int(issued_at.timestamp()),
            "exp": int(caller.expires_at.timestamp()),
        }
        if caller.order_id is not None:
            claims["order_id"] = str(caller.order_id)
        if caller.technician_id is not None:
            claims["technician_id"] = caller.technician_id
        return jwt.encode(claims, self._keys[self._signing], _ALGORITHM, headers={"kid": self._signing})

    def sign(self, text: str) -> str:
        """A signature of `text` with the newest key (HMAC-SHA-256, RFC 2104), for what is not a token."""
        return self.signatures(text)[0]

    def signatures(self, text: str) -> list[str]:
        """The good signatures of `text`, one a key, the newest key's first."""
        return [
            base64.urlsafe_b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode().rstrip("=")
            for key in self._keys.values()
        ]

    def read(self, token: str, now: datetime) -> Caller:
        """Return who bears `token`; raise Unauthenticated where it is not ours, was changed, or has expired."""
        caller = self._verified(token)
        if caller.expires_at <= now:
            raise Unauthenticated("the token has expired; sign in again")
        return caller

    def _verify(self, token: str) -> Caller:
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthenticated("the token was signed with a key that is not in use")
            claims = jwt.decode(
                token, key, [_ALGORITHM], issuer=ISSUER,
                options={"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_iat": False},
            )
            return _caller(claims)
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as exc:
            raise Unauthenticated("the token is not valid") from exc


def subscriber(order_id: UUID, accepted_at: datetime, days: int) -> Caller:
    """The subscriber of one order, from the moment it was accepted."""
    return Caller(f"subscriber:{order_id}", "subscriber", accepted_at + timedelta(days=days), order_id=order_id)


class Passwords:
    """argon2id hashes (RFC 9106, the library's low-memory profile). Hashing runs in a native thread."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash("nobody signs in with this")

    def hash(self, password: str) -> str:
        """The salted hash to store."""
        return str(tpool.execute(self._hasher.hash, password))

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`; as slow for an unknown user (None) as for a known one."""
        try:
            tpool.execute(self._hasher.verify, stored or self._nobody, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
        return stored is not None


def _key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _caller(claims: dict[str, Any]) -> Caller:
    role = claims["role"]
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}")
    order_id = claims.get("order_id")
    return Caller(
        subject=str(claims["sub"]),
        role=cast(Role, role),
        expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
        order_id=UUID(order_id) if order_id else None,
        technician_id=claims.get("technician_id"),
        since=datetime.fromtimestamp(int(claims["iat"]), UTC),
    )
