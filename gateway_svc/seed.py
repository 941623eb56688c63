"""Puts the staff users of a seed file into the database; users that are there already stay as they are.

    python -m gateway_svc.seed [config/seed.yaml]

`GATEWAY_DB_URI` names the database, `STAFF_PASSWORD` is the password of users that are added.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import sqlalchemy as sa
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chassis import clock
from gateway_svc import staff
from gateway_svc.auth import Passwords, Role
from gateway_svc.models import staff_users

MIN_PASSWORD_LENGTH = 8


class SeedUser(BaseModel):
    """One staff user of the seed file."""

    model_config = ConfigDict(extra="forbid")

    username: Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,64}$")]
    role: Role
    technician_id: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.role == "subscriber":
            raise ValueError("subscribers have no user; their order's token is enough")
        if (self.role == "technician") != (self.technician_id is not None):
            raise ValueError("technician_id belongs to technicians, and each of them needs one")
        return self


def seed(conn: sa.Connection, users: Iterable[Mapping[str, Any]], password: str) -> int:
    """Add the users that are missing and return how many; raise pydantic.ValidationError where the file is wrong."""
    wanted = [SeedUser.model_validate(user) for user in users]
    known = set(conn.execute(sa.select(staff_users.c.username)).scalars())
    missing = [user for user in wanted if user.username not in known]
    if not missing:
        return 0
    if len(password) < MIN_PASSWORD_LENGTH:
        raise ValueError(f"STAFF_PASSWORD needs at least {MIN_PASSWORD_LENGTH} characters")
    passwords = Passwords()
    rows = [
        staff.StaffUser(user.username, user.role, user.technician_id, passwords.hash(password)) for user in missing
    ]
    return staff.add(conn, rows, clock.utc_now())


def main(path: str = "config/seed.yaml") -> int:
    """Seed the database named by GATEWAY_DB_URI from the file at `path`."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    engine = sa.create_engine(os.environ["GATEWAY_DB_URI"], poolclass=sa.pool.NullPool)
    with engine.begin() as conn:
        count = seed(conn, document["staff"], os.environ.get("STAFF_PASSWORD", ""))
    print(f"{count} staff users were added")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
