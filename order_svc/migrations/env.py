"""Alembic's environment for order's database."""

from chassis.migration import run_env
from order_svc.models import Base

run_env(Base.metadata, "order")
