"""Activation's own settings: from the merged YAML, else the environment, else the values here. Times are seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from activation_svc.domain import Patience


class WorkerSettings(BaseModel):
    """How the network is reached and how patiently. Field names in capitals are the settings' names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instance_id: str = ""
    elements_driver: Literal["real", "sim"] = "real"
    elements_config: str = "config/elements.yaml"
    bng_line_key: str = Field(default="", repr=False)
    element_call_timeout_s: float = Field(default=6.0, gt=0, le=9)
    element_breaker_failures: int = Field(default=3, ge=1)
    element_breaker_reset_s: float = Field(default=5.0, gt=0)
    element_sim_host: str = "127.0.0.1"
    element_sim_port: int = 8010
    element_answer_timeout_s: float = Field(default=2.0, gt=0, lt=5)
    provision_batch: int = Field(default=32, ge=1, le=200)
    provision_attempts: int = Field(default=12, ge=1)
    provision_refused_attempts: int = Field(default=3, ge=1)
    provision_retry_first_s: float = Field(default=0.5, gt=0)
    provision_retry_max_s: float = Field(default=30.0, gt=0)
    revert_alarm_after: int = Field(default=5, ge=1)
    visit_batch: int = Field(default=50, ge=1, le=200)
    visit_retry_max_s: float = Field(default=15.0, gt=0)

    @property
    def patience(self) -> Patience:
        """How often and how fast provisioning is tried again."""
        return Patience(
            attempts=self.provision_attempts,
            refused_attempts=self.provision_refused_attempts,
            first_delay_s=min(self.provision_retry_first_s, self.provision_retry_max_s),
            longest_delay_s=self.provision_retry_max_s,
            revert_alarm_after=self.revert_alarm_after,
        )


def worker_settings(config: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Read the settings; raises pydantic.ValidationError naming the one that makes no sense."""
    names = {field: field.upper() for field in WorkerSettings.model_fields}
    given = {field: config.get(name, environment.get(name)) for field, name in names.items()}
    # A key of digits is text too, whatever YAML takes it for.
    given["bng_line_key"] = str(given["bng_line_key"] or "")
    return WorkerSettings.model_validate({field: value for field, value in given.items() if value not in (None, "")})
