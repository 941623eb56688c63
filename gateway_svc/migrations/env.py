"""Alembic's environment for the gateway's database."""

from chassis.migration import run_env
from gateway_svc.models import Base

run_env(Base.metadata, "gateway")
