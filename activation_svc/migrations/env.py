"""Alembic's environment for activation's database."""

from activation_svc.models import Base
from chassis.migration import run_env

run_env(Base.metadata, "activation")
