"""Alembic's environment for fieldwork's database."""

from chassis.migration import run_env
from fieldwork_svc.models import Base

run_env(Base.metadata, "fieldwork")
