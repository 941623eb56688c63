"""Alembic's environment for scheduling's database."""

from chassis.migration import run_env
from scheduling_svc.models import Base

run_env(Base.metadata, "scheduling")
