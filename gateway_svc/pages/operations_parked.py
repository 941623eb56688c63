"""Parked messages at the operations desk: replay one, or drop it after a second look."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from werkzeug.wrappers import Response

from contracts.errors import NotFound
from gateway_svc import parked
from gateway_svc.intake import Intake
from gateway_svc.operated import GATEWAY, UNREACHABLE, Operated
from gateway_svc.pages.ask import Part, question, together
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View, local_path
from gateway_svc.routing import OPERATOR

LOOKED_THROUGH = 200
"""Messages of a service among which the one to drop is looked for, to show it again."""


class ParkedPages(Operated):
    """A message is named by whose handler gave up and by its id."""

    settings: dict[str, Any]
    intake: Intake

    @page("POST", "/ops/parked/<service>/<message_id>/replay", roles=OPERATOR)
    def replay_parked_page(self, view: View) -> Response:
        """Hand the message to its handler again."""
        return self._act_on_message(view, "replay_parked", "ops-replayed")

    @page("GET", "/ops/parked/<service>/<message_id>/drop", roles=OPERATOR)
    def ask_drop_parked(self, view: View) -> Response:
        """Shows the message and asks whether it may be thrown away."""
        return self._drop_page(view)

    @page("POST", "/ops/parked/<service>/<message_id>/drop", roles=OPERATOR)
    def drop_parked_page(self, view: View) -> Response:
        """Throw the message away for good."""
        return self._act_on_message(view, "drop_parked", "ops-dropped")

    def _act_on_message(self, view: View, action: str, notice: str) -> Response:
        service, message_id = self._named(view)
        try:
            if service == GATEWAY:
                if not parked.act(self.intake.journal, action, message_id):
                    raise NotFound("that request is not parked any more")
            else:
                timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
                self.services[service].call(action, timeout_s=timeout_s, message_id=str(message_id))
        except NotFound:
            return self._drop_page(view, 404, "ops-parked-gone")
        except UNREACHABLE:
            return self._drop_page(view, 503, "ops-no-answer")
        return view.redirect(local_path(view.request.form.get("next"), "/ops"), notice=notice)

    def _drop_page(self, view: View, status: int = 200, failure: str | None = None) -> Response:
        service, message_id = self._named(view)
        listed = self._listed(service)
        found = next((item for item in (listed.value or {}).get("items", ()) if item["message_id"] == str(message_id)),
                     None)  # fmt: skip
        return view.render(
            "operations/drop.html", status, service=service, message_id=str(message_id), message=found,
            missing=listed.missing, failure=failure,
            back=local_path(view.request.values.get("next"), "/ops"),
        )

    def _listed(self, service: str) -> Part:
        if service == GATEWAY:
            return Part(parked.page(self.intake.journal, LOOKED_THROUGH, None))
        timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
        return together(
            parked=question(self.services[service], "list_parked", timeout_s, limit=LOOKED_THROUGH)
        )["parked"]

    def _named(self, view: View) -> tuple[str, UUID]:
        service = view.path["service"]
        try:
            message_id = UUID(view.path["message_id"])
        except ValueError:
            raise NotFound("no parked message has that id; ids are UUIDs") from None
        if service not in (*self.services, GATEWAY):
            raise NotFound(f"there is no service {service}")
        return service, message_id
