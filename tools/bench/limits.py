"""What broker and database can do at most on this machine: compiled clients that do what orders cause, nothing else.

They use the very servers that the system runs on, while it idles; the database in a database of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
import sqlalchemy as sa

from activation_svc.models import Base as Activation
from mypage_svc.models import Base as MyPage
from order_svc.models import Base as Order
from scheduling_svc.models import Base as Scheduling
from tools.bench import cost
from tools.bench.figures import BATCH, BROKER, DATABASE, LIMITS, Name, Reading
from tools.bench.host import FOLDER, Host
from tools.bench.load import Size
from tools.packages import Server
from tools.postgres import _binaries
from tools.waiting import NotInTime

COMPILER = Server(
    "a C compiler with librabbitmq", ("gcc", "libc6-dev", "librabbitmq-dev"),
    lambda: shutil.which("gcc") is not None and Path("/usr/include/amqp.h").exists(),
    "With it the limit of RabbitMQ is measured.",
)  # fmt: skip
CPU_MS = "CPU ms an order"
BATCHED, CLIENTS = 20, 4
EVENTS, TRANSIENT, BODY_BYTES, WINDOW = 2, 5, 800, 100
"""Of an order until it is visible: `order_placed` and `activation_completed`, each to two services; the visit's request
and its answer, two hints of MyPage and one of scheduling."""
_DATABASE = "bench_limits"
_SCHEMAS: Mapping[str, Any] = {
    "bench_order": Order, "bench_activation": Activation, "bench_scheduling": Scheduling, "bench_mypage": MyPage
}  # fmt: skip


def limits(host: Host, size: Size, ours: Reading) -> Reading:
    """CPU of the servers an order with compiled clients, and how many times that ours take under load.

    `ours`: what the batch of this turn cost, where it was measured.
    """
    _make_tables(host, 2 * size.limit_orders)
    _database(host, size.limit_orders // 10, BATCHED)  # Plans for tables that nobody has written to are bad ones.
    found = _database(host, size.limit_orders // 4, 1) | _database(host, size.limit_orders, BATCHED)
    found |= _broker(host, size.limit_orders)
    limit_of = {DATABASE: Name(LIMITS, f"{DATABASE}, batched by {BATCHED}", CPU_MS),
                BROKER: Name(LIMITS, f"{BROKER}, window of {WINDOW}", CPU_MS)}  # fmt: skip
    for server, name in limit_of.items():
        mine = ours.get(Name(BATCH, f"- {server}", CPU_MS))
        if mine is not None and found[name]:
            found[Name(LIMITS, f"{server}, ours by its limit", "times")] = mine / found[name]
    return found


def _make_tables(host: Host, orders: int) -> None:
    """The services' own tables, as this checkout describes them, and enough to give out."""
    host.query("order", f"drop database if exists {_DATABASE}")
    host.query("order", f"create database {_DATABASE}")
    engine = sa.create_engine(
        sa.make_url(host.database_address("order", _DATABASE)).set(drivername="postgresql+psycopg2"),
        poolclass=sa.NullPool,
    )
    for schema, base in _SCHEMAS.items():
        with engine.begin() as conn:
            conn.execute(sa.text(f"create schema {schema}"))
            base.metadata.create_all(conn.execution_options(schema_translate_map={None: schema}))
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "insert into bench_activation.resources (pool, name, element, position)"
                " select pool, number::text, 'bench', number"
                " from unnest(array['port', 'vlan', 'ip']) as pool, generate_series(1, :number) as number"
            ),
            {"number": orders + 2 * BATCHED * CLIENTS},
        )


def _database(host: Host, orders: int, batch: int) -> Reading:
    address = urlsplit(host.database_address("order", _DATABASE))
    times = max(1, orders // batch // CLIENTS)
    with closing(psycopg2.connect(host.database_address("order", _DATABASE))) as connection:
        connection.autocommit = True
        connection.cursor().execute("vacuum analyze")
    command = [str(_binaries() / "pgbench"), "--no-vacuum", "--protocol", "prepared", "--client", str(CLIENTS),
               "--transactions", str(times), "--define", f"batch={batch}",
               "--file", str(Path(__file__).with_name("limits.sql")), "--host", str(address.hostname),
               "--port", str(address.port), "--username", str(address.username), _DATABASE]  # fmt: skip
    before = cost.all_cpu_s(host.pids)
    output = _run(command, {"PGPASSWORD": unquote(address.password or ""), "PGTZ": "UTC"})
    spent = cost.spent(before, cost.all_cpu_s(host.pids))
    if f"processed: {times * CLIENTS}/{times * CLIENTS}" not in output:
        raise NotInTime(f"pgbench did not do all of it:\n{output}")
    how = f"batched by {batch}" if batch > 1 else "one by one"
    return {Name(LIMITS, f"{DATABASE}, {how}", CPU_MS): 1000 * spent[DATABASE] / (times * CLIENTS * batch)}


def _broker(host: Host, orders: int) -> Reading:
    seconds, cpu_s = broker(host, orders, EVENTS, TRANSIENT)
    return {
        Name(LIMITS, f"{BROKER}, window of {WINDOW}", CPU_MS): 1000 * cpu_s / orders,
        Name(LIMITS, f"{BROKER}, window of {WINDOW}", "orders/s"): orders / seconds,
    }


def broker(host: Host, orders: int, events: int, transient: int, queues: int = 2) -> tuple[float, float]:
    """Send and consume so many messages an order, an event to so many queues; seconds and the broker's CPU seconds."""
    address = urlsplit(host.env["AMQP_URI"])
    client = _compiled()
    where = {"AMQP_HOST": str(address.hostname), "AMQP_PORT": str(address.port), "AMQP_VHOST": address.path[1:],
             "AMQP_USER": unquote(address.username or ""), "AMQP_PASSWORD": unquote(address.password or "")}
    before = cost.all_cpu_s(host.pids)
    arguments = [str(number) for number in (orders, events, transient, BODY_BYTES, WINDOW, queues)]
    seconds = float(json.loads(_run([str(client), *arguments], where))["seconds"])
    return seconds, cost.spent(before, cost.all_cpu_s(host.pids))[BROKER]


def _compiled() -> Path:
    source, program = Path(__file__).with_name("amqp_limit.c"), FOLDER / "amqp_limit"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        _run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), "-lrabbitmq"], {})
    return program


def _run(command: list[str], variables: Mapping[str, str]) -> str:
    """What it printed. Raises NotInTime where it failed or did not end."""
    try:
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise NotInTime(f"{Path(command[0]).name} did not end within {error.timeout:g} s") from error
    if done.returncode:
        raise NotInTime(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
