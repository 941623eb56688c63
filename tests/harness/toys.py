"""A service made for a test, without the configuration file of a real one; and a stranger who publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Connection

from chassis.container import Container


@contextmanager
def started(service_cls: type, config: dict[str, Any]) -> Iterator[Container]:
    """The service with exactly this configuration; stopped at the end."""
    container = Container(service_cls, config)
    container.start()
    try:
        yield container
    finally:
        container.stop()


def publish(amqp_uri: str, routing_key: str, body: bytes, *, exchange: str = "", **properties: Any) -> None:
    """Publish one persistent message with confirm, as a stranger would: any bytes, any routing key."""
    with Connection(amqp_uri, transport_options={"confirm_publish": True}) as connection:
        connection.Producer(serializer=None).publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            **properties,
        )
