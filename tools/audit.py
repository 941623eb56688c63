"""`make audit`: compare what activation believes with what the network elements hold.

Against the running system; `--repair` shows what would mend it, asks, and does exactly that.
Exit code: 0 no difference (left), 1 differences, or an element that nothing is known of.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from nameko.standalone.rpc import ClusterRpcProxy

from chassis.broker import client_config
from tools.environment import environment_of
from tools.paths import OPERATOR, state_dir
from tools.run import running_environment
from tools.waiting import NotInTime

TIMEOUT_S = 120
SHOWN = 200
_DOES = {"write": "write what is planned", "put_back": "put back what stood there before", "delete": "delete it"}

Json = dict[str, Any]


def lines_of(audit: Json) -> Iterable[str]:
    """The audit for a person to read."""
    yield f"audit at {audit['at']}; {audit['left_out']} orders are being worked on and were left out"
    for name, found in audit["elements"].items():
        if "unreachable" in found:
            yield f"{name}: nothing is known, {found['unreachable']}"
            continue
        counts = ", ".join(f"{len(found[kind])} {kind}" for kind in ("missing", "extra", "different"))
        yield f"{name}: {found['checked']} entries checked: {counts}; {found['foreign']} are not ours"
        for finding in differences({"elements": {name: found}})[:SHOWN]:
            fields = f" in {', '.join(finding['fields'])}" if finding["fields"] else ""
            whose = f"order {finding['order_id']}" if finding["order_id"] else "no order there is"
            yield f"  {finding['kind']:<9} {finding['key']}{fields} ({whose})"


def plan_lines(findings: list[Json]) -> Iterable[str]:
    """What a repair would do, in its order, for a person to read."""
    for finding in sorted(findings, key=lambda each: each["kind"] != "extra"):
        yield f"  {finding['element']} {finding['key']}: {_DOES[finding['do']]}"


def differences(audit: Json) -> list[Json]:
    """All findings of an audit."""
    return [
        finding for found in audit["elements"].values()
        for kind in ("missing", "extra", "different") for finding in found.get(kind, ())
    ]


def is_clean(audit: Json) -> bool:
    """Whether every element was read, and nothing differs."""
    return not differences(audit) and not any("unreachable" in found for found in audit["elements"].values())


def run(
    activation: Any, element: str | None, *, repair: bool, ask: Callable[[str], str] = input,
    say: Callable[[str], Any] = print,
) -> int:
    """Audit, show, and where asked for and confirmed, repair and audit again. `activation`: an RPC proxy."""
    audit = activation.audit(element=element)
    for line in lines_of(audit):
        say(line)
    findings = differences(audit)
    if not repair or not findings:
        return 0 if is_clean(audit) else 1
    say(f"\nTo repair this, {len(findings)} change(s) would be made:")
    for line in plan_lines(findings):
        say(line)
    if ask("Make exactly these changes? Type yes: ").strip().lower() != "yes":
        say("nothing was changed")
        return 1
    by = os.environ.get("USER") or "make audit"
    for item in activation.repair(findings=findings, by=by)["items"]:
        say(f"  {item['element']} {item['key']}: {'done' if item['done'] else item['why']}")
    say("")
    return run(activation, element, repair=False, say=say)


def main() -> int:
    """Do it against the system that runs; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.audit", description=__doc__)
    parser.add_argument("--element", help="only this one")
    parser.add_argument("--repair", action="store_true", help="show what would be changed, ask, and change it")
    args = parser.parse_args()
    try:
        # A system that runs elsewhere (compose) is named by AMQP_URI.
        env = os.environ if os.environ.get("AMQP_URI") else environment_of(OPERATOR, running_environment(state_dir()))
        with ClusterRpcProxy(client_config(env), timeout=TIMEOUT_S) as cluster:
            return run(cluster.activation, args.element, repair=args.repair)
    except NotInTime as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
