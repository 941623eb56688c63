"""How every connection to the broker is opened: plain, or over TLS where the address says `amqps`.

Over TLS the broker's certificate must be signed by the authority in `AMQP_CA_FILE` (without one, by those that the
system trusts) and be made out to the host in the address. There is no setting that leaves the check out.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kombu import Connection

TLS_SCHEME = "amqps"


def tls_options(uri: str, ca_file: str = "") -> dict[str, Any] | None:
    """What kombu, and Nameko's AMQP_SSL, take as `ssl`; None for an address without TLS.

    Neither checks the host's name unless it is told to. Raises ValueError for an address without a host, and for an
    authority's file that is not there.
    """
    address = urlsplit(uri)
    if address.scheme != TLS_SCHEME:
        return None
    if not address.hostname:
        raise ValueError("AMQP_URI names no host, so there is nothing to check the broker's certificate against")
    if ca_file and not Path(ca_file).is_file():
        raise ValueError(f"AMQP_CA_FILE names no file: {ca_file}")
    return {
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": address.hostname,
        "ca_certs": ca_file or None,
        "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
    }


def connection(uri: str, ca_file: str = "", **options: Any) -> Connection:
    """A kombu connection that is not open yet; `options` are kombu's."""
    return Connection(uri, ssl=tls_options(uri, ca_file) or False, **options)


def configured(config: dict[str, Any], **options: Any) -> Connection:
    """The same, to the broker of these settings: `AMQP_URI` and `AMQP_CA_FILE`."""
    return connection(str(config["AMQP_URI"]), str(config.get("AMQP_CA_FILE") or ""), **options)


def client_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """What Nameko's stand-alone RPC client takes, from AMQP_URI and AMQP_CA_FILE: for shells and tools."""
    uri = environment["AMQP_URI"]
    return {"AMQP_URI": uri, "AMQP_SSL": tls_options(uri, environment.get("AMQP_CA_FILE", ""))}


def refusal(error: BaseException | None) -> str | None:
    """Why the broker's certificate was not accepted, where that is what `error` is about, or came from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the broker's certificate is not accepted: {error.verify_message}; it must be made out to the host in"
                " AMQP_URI and signed by the authority in AMQP_CA_FILE"
            )
        error = error.__cause__ or error.__context__
    return None
