"""Alembic's environment for mypage's database."""

from chassis.migration import run_env
from mypage_svc.models import Base

run_env(Base.metadata, "mypage")
