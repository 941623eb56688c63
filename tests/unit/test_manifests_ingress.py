"""What the ingress lets in: every page and route of the API, whole photos, and none of what only the cluster asks."""

from __future__ import annotations

from typing import Any

from chassis.web import MAX_BODY
from contracts.rpc import PHOTO_BYTES_MAX
from gateway_svc.pages.routing import PAGES
from gateway_svc.routing import ROUTES
from gateway_svc.service import OPERATED
from tests.harness.manifests import the

INGRESS: dict[str, Any] = the("overlays/production", "Ingress", "gateway")
PATHS = INGRESS["spec"]["rules"][0]["http"]["paths"]


def lets_in(path: str) -> bool:
    """As Kubernetes matches: Exact, or Prefix by whole parts of the path."""
    return any(
        path == one["path"] or (one["pathType"] == "Prefix" and path.startswith(f"{one['path']}/")) for one in PATHS
    )


def test_every_page_and_route_is_reached_from_outside_and_nothing_of_the_clusters() -> None:
    inside = {route.path for route in OPERATED}
    assert inside == {"/livez", "/readyz", "/metrics"}
    outside = {route.path for route in [*ROUTES, *PAGES]} - inside | {"/tech/sw.js", "/static/version/app.css"}
    assert [path for path in sorted(outside) if not lets_in(path)] == []
    assert [path for path in sorted(inside) if lets_in(path)] == []


def test_a_photo_in_a_form_is_not_cut_off_on_the_way() -> None:
    size = INGRESS["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(size.removesuffix("m")) * 1024 * 1024 >= PHOTO_BYTES_MAX + MAX_BODY
