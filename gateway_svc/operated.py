"""The services behind the gateway, as what is shown to operators sees them."""

from __future__ import annotations

from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.errors import Unavailable

UNREACHABLE = (CallFailed, RemoteFault, Unavailable)
GATEWAY = "gateway"


class Operated:
    """A mixin's access to every service, by name."""

    order: RpcClient
    activation: RpcClient
    scheduling: RpcClient
    fieldwork: RpcClient
    mypage: RpcClient

    @property
    def services(self) -> dict[str, RpcClient]:
        """The way to each service, in the order of the flow."""
        return {
            "order": self.order, "activation": self.activation, "scheduling": self.scheduling,
            "fieldwork": self.fieldwork, "mypage": self.mypage,
        }
