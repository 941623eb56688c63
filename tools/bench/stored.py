"""Orders of the past, written by SQL into all services' tables: what a system looks like that has run for long.

Order number i (from 1) is the i-th of them, a few seconds after the one before it, and the same in every database. They
are closed: 97 of 100 completed, 2 rejected, 1 cancelled. Beside them, whatever the number, `OPEN` orders are under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

Run = Callable[[str, str], Any]
"""Runs a statement in a service's database."""

OPEN = 400
STEP_S = 6.5
"""Between two orders: a million of them are 75 days, so that nothing is old enough to be pruned."""
LAST_DAYS = 5
"""How many days ago the last of them was placed, so that all of their visits are over."""
MOST = 1_000_000
CHUNK = 50_000

# An id as it was made then: a UUIDv7 of that millisecond, its random part from the number and the salt.
_ID = """
create or replace function stored_id(at timestamptz, salt text) returns uuid language sql immutable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(salt), 1, 3)
        || '8' || substr(md5(salt), 4, 15))::uuid
$$
"""
_ORDERS = f"""
create table stored_orders as
    select i, at, stored_id(at, i::text) as order_id,
        case when i % 100 = 0 then 'cancelled' when i % 50 = 1 then 'rejected' else 'completed' end as state,
        jsonb_build_object('name', '김하늘', 'phone', '010-' || substr(lpad(i::text, 8, '0'), 1, 4) || '-'
            || substr(lpad(i::text, 8, '0'), 5)) as customer,
        '{{{{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"}}}}'::jsonb as address,
        '[{{{{"product": "internet-500", "quantity": 1}}}}]'::jsonb as items
    from (
        select i, {{began}} - interval '{LAST_DAYS} days' - ({MOST} - i) * interval '{{step_s}} seconds' as at
        from generate_series({{first}}, {{last}}) as i
    ) as numbered
"""
_OPEN_ORDERS = f"""
create table stored_orders as
    select i, at, stored_id(at, 'open' || i) as order_id, case
            when i % 8 < 3 then 'activated' when i % 8 < 6 then 'scheduled' when i % 8 = 6 then 'placed'
            when i % 40 = 7 then 'fallout' else 'cancelling' end as state,
        jsonb_build_object('name', '박바다', 'phone', '010-9000-' || lpad(i::text, 4, '0')) as customer,
        '{{{{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"}}}}'::jsonb as address,
        '[{{{{"product": "internet-500", "quantity": 1}}}}]'::jsonb as items
    from (
        select i, {{began}} - i * interval '10 minutes' as at
        from generate_series(1, {OPEN}) as i
    ) as numbered
"""
_CLOSED = "state in ('completed', 'rejected', 'cancelled')"


def _outbox(*events: str) -> str:
    """A sent message of each of these events for each order, with a body of a usual size."""
    return f"""
        insert into outbox (message_id, order_id, exchange, routing_key, headers, body, created_at, sent_at)
        select stored_id(at + n * interval '1 minute', event || order_id), order_id, 'oss.events', event, '{{}}',
            convert_to(jsonb_build_object('event_id', stored_id(at + n * interval '1 minute', event || order_id),
                'event_type', event, 'schema_version', 1, 'occurred_at', at, 'order_id', order_id,
                'causation_id', order_id, 'traceparent', '00-' || md5(order_id::text) || '-0123456789abcdef-01',
                'customer', customer, 'address', address, 'items', items)::text, 'utf8'),
            at + n * interval '1 minute', at + n * interval '1 minute'
        from stored_orders, unnest(array[{', '.join(map(repr, events))}]) with ordinality as sent(event, n)
        where {_CLOSED} order by at, n
    """


def _inbox(count: int) -> str:
    return f"""
        insert into inbox (message_id, received_at)
        select stored_id(at + n * interval '1 minute', n || 'in' || order_id), at + n * interval '1 minute'
        from stored_orders, generate_series(1, {count}) as n order by at, n
    """


STATEMENTS: dict[str, tuple[str, ...]] = {
    "order": (
        """insert into orders select order_id, state, customer, address, items, at, 'key-' || order_id, md5(i::text),
            '', '', false, case state when 'rejected' then 'no_duct' else '' end, at, at + interval '1 day'
            from stored_orders""",
        _outbox("order_placed", "order_completed"), _inbox(3),
    ),
    "activation": (
        """insert into activations (order_id, state, customer, address, items, lines, reason, attempts, visit_attempts,
            gives_up, tried, stuck_since, created_at, updated_at)
            select order_id, case state when 'completed' then 'in_service' when 'activated' then 'active'
                when 'scheduled' then 'active' when 'placed' then 'provisioning' when 'fallout' then 'fallout'
                when 'cancelling' then 'cancelling' else 'reverted' end,
            customer, address, items, jsonb_build_array(jsonb_build_object('product', 'internet-500', 'vlan', i % 3900,
                'element', 'olt-1', 'port', '0/0/' || i % 64, 'ip', '100.64.0.1')), '', 0, 0, false, '[]',
            case state when 'fallout' then at end, at, at + interval '1 day' from stored_orders""",
        _outbox("activation_completed"), _inbox(2),
    ),
    "scheduling": (
        """insert into technicians select 'stored-' || n, '박기사 ' || n, '{}', '{}', '{}'
            from generate_series(0, 39) as n on conflict do nothing""",
        """insert into visits (order_id, state, customer, address, items, requested_at, calls, missed_calls,
            last_outcome, window_start, window_end, technician_id, technician_name, revision, cancel_reason,
            created_at, updated_at)
            select order_id, case state when 'activated' then 'requested' else state end, customer, address, items, at,
            1,
            i % 3, case when state = 'activated' then 'no_answer' else 'agreed' end,
            case when state <> 'activated' then at + interval '1 day' end,
            case when state <> 'activated' then at + interval '1 day 2 hours' end,
            case when state <> 'activated' then 'stored-' || i % 40 end, '박기사', 1, '', at, at + interval '1 day'
            from stored_orders where state not in ('placed', 'fallout')""",
        """insert into bookings (id, order_id, technician_id, window_start, window_end, booked_by, booked_at,
            released_at)
            select stored_id(at, 'booking' || order_id), order_id, technician_id, window_start, window_end, 'kim', at,
                case when state = 'cancelled' then at end
            from visits join stored_orders using (order_id, state) where technician_id is not null""",
        """insert into call_attempts (id, order_id, by, outcome, note, at)
            select stored_id(at, 'call' || order_id), order_id, 'kim', 'no_answer', '통화 중', at
            from stored_orders join visits using (order_id)""",
        _outbox("visit_scheduled"), _inbox(1),
    ),
    "fieldwork": (
        """insert into jobs (order_id, state, revision, window_start, window_end, technician_id, technician_name,
            customer, address, items, results, note, created_at, updated_at)
            select order_id, case state when 'scheduled' then 'assigned' else state end, 1, at + interval '1 day',
            at + interval '1 day 2 hours', 'stored-' || i % 40, '박기사', customer, address, items,
            case state when 'completed' then '{"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5}'::jsonb end, '', at,
            at + interval '1 day'
            from stored_orders where state not in ('placed', 'fallout', 'activated', 'cancelling')""",
        """insert into job_photos select order_id, stored_id(at, 'photo' || order_id), 'stored-1', 'image/png',
            '\\x89504e47',
            4, at + interval '1 day' from stored_orders where state = 'completed' and i % 10 = 3""",
        _outbox("fieldwork_completed"), _inbox(1),
    ),
    "mypage": (
        """insert into events (event_id, order_id, event_type, occurred_at, payload, received_at, schema_version)
            select stored_id(at + n * interval '1 minute', event || order_id), order_id, event,
                at + n * interval '1 minute', case event
                    when 'order_placed' then jsonb_build_object('customer', customer, 'address', address, 'items',
                        items)
                    when 'visit_scheduled' then jsonb_build_object('customer', customer, 'address', address, 'items',
                        items, 'revision', 1, 'window_start', at + interval '1 day', 'window_end', at + interval
                        '1 day 2 hours', 'technician_id', 'stored-1', 'technician_name', '박기사')
                    when 'fieldwork_completed' then jsonb_build_object('note', '', 'technician_id', 'stored-1',
                        'results', jsonb_build_object('ont_serial', 'HFRN1234ABCD', 'rx_power_dbm', -19.5,
                            'down_mbps', 487.0))
                    else '{"cancel_refused": false}'::jsonb end, at, 1
            from stored_orders, unnest(array['order_placed', 'activation_completed', 'visit_scheduled',
                'fieldwork_completed', 'order_completed']) with ordinality as told(event, n)
            where state = 'completed' or n < 3""",
        """insert into pages (order_id, status, customer, address, items, visit, results, rejection, cancel_refused,
            version, placed_at, updated_at, timeline, phone, ont_serial, waiting_since)
            select order_id, state, customer, address, items, jsonb_build_object('revision', 1, 'window_start',
                at + interval '1 day', 'window_end', at + interval '1 day 2 hours', 'technician_id', 'stored-1',
                'technician_name', '박기사'),
                case state when 'completed' then jsonb_build_object('ont_serial', serial, 'rx_power_dbm', -19.5) end,
                null,
                false, 5, at, at + interval '1 day', (
                    select jsonb_agg(jsonb_build_object('at', at + n * interval '1 minute', 'event', event, 'details',
                        '{}'::jsonb, 'text_ko', '주문이 접수되었습니다', 'text_en', 'The order was placed') order by n)
                    from unnest(array['order_placed', 'activation_completed', 'visit_scheduled', 'fieldwork_completed',
                        'order_completed']) with ordinality as told(event, n)),
                replace(customer->>'phone', '-', ''), case state when 'completed' then serial end,
                case when state not in ('completed', 'rejected', 'cancelled') then at + interval '1 day' end
            from (select *, 'HFRN' || upper(lpad(to_hex(i), 8, '0')) as serial from stored_orders) as numbered""",
    ),
    "gateway": (
        """insert into audit_log select stored_id(at, 'audit' || order_id), at, 'user-' || i % 20, 'dispatcher',
            'record_call',
            order_id, 200, null from stored_orders""",
    ),
}  # fmt: skip


class Stored:
    """Writes them. `run` runs a statement in a service's database; they were placed before the moment `began`."""

    def __init__(
        self, run: Run, began: datetime, services: Sequence[str] = tuple(STATEMENTS), step_s: float = STEP_S
    ) -> None:
        self._run, self._services, self._step_s = run, services, step_s
        self._began = f"timestamptz '{began.isoformat()}'"

    def write(self, first: int, last: int) -> None:
        """Orders number `first` to `last` (both included). Raises ValueError for numbers outside 1 to `MOST`."""
        if not 1 <= first <= last <= MOST:
            raise ValueError(f"orders {first} to {last}: must be within 1 and {MOST}")
        for service in self._services:
            for begin in range(first, last + 1, CHUNK):
                numbers = {"first": begin, "last": min(begin + CHUNK - 1, last)}
                self._write(service, _ORDERS.format(began=self._began, step_s=self._step_s, **numbers))

    def write_open(self) -> None:
        """The orders that are under way; once."""
        for service in self._services:
            self._write(service, _OPEN_ORDERS.format(began=self._began))

    def _write(self, service: str, orders: str) -> None:
        for statement in (_ID, "drop table if exists stored_orders", orders, *STATEMENTS[service],
                          "drop table stored_orders"):  # fmt: skip
            self._run(service, statement)
