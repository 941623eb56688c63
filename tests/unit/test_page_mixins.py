"""The gateway is put together from mixins that share one object: none may hide what another calls."""

from __future__ import annotations

import inspect

from gateway_svc.service import GatewayService


def test_no_mixin_hides_a_method_of_another() -> None:
    owners: dict[str, list[str]] = {}
    for mixin in GatewayService.__bases__:
        if mixin.__module__.startswith("gateway_svc."):
            for name, _ in inspect.getmembers(mixin, lambda member: inspect.isfunction(member)):
                owners.setdefault(name, []).append(mixin.__name__)
            for name, value in vars(mixin).items():
                if isinstance(value, property):
                    owners.setdefault(name, []).append(mixin.__name__)
    assert {name: mixins for name, mixins in owners.items() if len(mixins) > 1} == {}
