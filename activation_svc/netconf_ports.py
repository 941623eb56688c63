"""Service ports of an access node in NETCONF's XML: entries to `<config>` and back, filters, and refusals in words.

The module is `network_elements/olt/oss-access-node.yang`. Nothing here talks to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lxml import etree  # type: ignore[import-untyped,unused-ignore]
from ncclient.operations import RPCError  # type: ignore[import-untyped]

from activation_svc.driver import Content

NAMESPACE = "urn:oss:yang:access-node"
_NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
_PREFIX = "service-port/"
_LEAVES = ("subscriber", "admin_state", "ont_registration_id", "ont_serial", "vlan", "line_profile")
_PROFILES = "multicast_profiles"


def name_of(key: str) -> str:
    """`service-port/1/2/3` -> `1/2/3`. Raises ValueError for a key that no access node has."""
    if not key.startswith(_PREFIX):
        raise ValueError(f"{key} is no key of an access node")
    return key.removeprefix(_PREFIX)


def config_of(changes: Mapping[str, Content | None]) -> Any:
    """A `<config>` that replaces each entry as a whole, or removes it, whether it is there or not (RFC 6241 7.2).

    Raises ValueError for a key or a field that no access node has.
    """
    config = etree.Element(f"{{{_NETCONF}}}config", nsmap={"nc": _NETCONF})
    node = etree.SubElement(config, _an("access-node"), nsmap={None: NAMESPACE})
    for key, content in changes.items():
        port = etree.SubElement(node, _an("service-port"))
        port.set(f"{{{_NETCONF}}}operation", "remove" if content is None else "replace")
        _add(port, "name", name_of(key))
        if content is not None:
            _fill(port, key, content)
    return config


def filter_of(keys: Iterable[str] | None = None) -> tuple[str, Any]:
    """A subtree filter (RFC 6241 6) for these entries, or for every service port."""
    node = etree.Element(_an("access-node"), nsmap={None: NAMESPACE})
    if keys is None:
        etree.SubElement(node, _an("service-port"))
    for key in keys or ():
        _add(etree.SubElement(node, _an("service-port")), "name", name_of(key))
    return "subtree", node


def entries_of(data: Any) -> dict[str, Content]:
    """The service ports in a `<data>` element, by key. A leaf that is not there is None."""
    return {f"{_PREFIX}{port.findtext(_an('name'))}": _content(port) for port in data.iter(_an("service-port"))}


def normal(content: Content) -> Content:
    """The entry as it reads back: every field there, multicast profiles sorted."""
    return {leaf: content.get(leaf) for leaf in _LEAVES} | {_PROFILES: sorted(content.get(_PROFILES) or [])}


def words_of(refusal: RPCError) -> str:
    """What the element said: message, value, path and tag of each `<rpc-error>` (RFC 6241 4.3)."""
    return "; ".join(_words(error) for error in (refusal.errlist or [refusal])[:3])


def tag_of(refusal: RPCError) -> str:
    """The `error-tag`, of the first where there are several."""
    return str((refusal.errlist or [refusal])[0].tag)


def _words(error: RPCError) -> str:
    text = (error.message or "refused").strip()
    for info in etree.fromstring(error.info.encode()) if error.info else ():
        if etree.QName(info).localname in {"bad-value", "non-unique", "session-id"} and info.text:
            text += f": {etree.QName(info).localname} {info.text.strip()}"
    if error.path:
        text += f" at {error.path.strip()}"
    return f"{text} ({error.app_tag or error.tag})"


def _fill(port: Any, key: str, content: Content) -> None:
    if unknown := content.keys() - {*_LEAVES, _PROFILES}:
        raise ValueError(f"{key}: a service port has no {', '.join(sorted(unknown))}")
    for leaf in _LEAVES:
        if (value := content.get(leaf)) is not None:
            _add(port, leaf.replace("_", "-"), str(value))
    for profile in sorted(content.get(_PROFILES) or []):
        _add(port, "multicast-profile", profile)


def _content(port: Any) -> Content:
    content: Content = {leaf: port.findtext(_an(leaf.replace("_", "-"))) for leaf in _LEAVES}
    if content["vlan"] is not None:
        content["vlan"] = int(content["vlan"])
    content[_PROFILES] = sorted(profile.text for profile in port.iterfind(_an("multicast-profile")))
    return content


def _an(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _add(parent: Any, name: str, text: str) -> None:
    etree.SubElement(parent, _an(name)).text = text
