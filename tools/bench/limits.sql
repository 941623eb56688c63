-- For pgbench, -D batch=20: what the services ask of their databases for so many orders of one internet line, from
-- placing until MyPage shows them activated; for each transaction of theirs one here, with its statements and their
-- order. Schemas take the place of databases. Where a service finds orders by when they are due, they are found by id
-- here, so that clients side by side do not take each other's. Left out is the count of what each element has given out
-- (activation_svc/inventory.py): it costs more with every order, which no limit should.
select array_agg(gen_random_uuid())::text as ids, array_agg(gen_random_uuid())::text as placed,
  array_agg(gen_random_uuid())::text as completed from generate_series(1, cast(:batch as int)) \gset

-- order: place_orders
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 0))) from unnest(cast(:ids as uuid[])) as k;
select idempotency_key, order_id, content_hash from bench_order.orders where idempotency_key = any(cast(cast(:ids as uuid[]) as text[]));
select count(pg_advisory_xact_lock(hashtextextended(k::text, 1))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_order.orders where order_id = any(cast(:ids as uuid[]));
insert into bench_order.orders (order_id, state, customer, address, items, accepted_at, idempotency_key, content_hash, cancel_reason, cancel_requested_by, cancel_refused, rejection_reason, created_at, updated_at)
  select k, 'placed', '{"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}', '{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}', '[{"product": "internet-500", "quantity": 1}]', now(), k::text, repeat('0', 64), '', '', false, '', now(), now() from unnest(cast(:ids as uuid[])) as k
  on conflict (order_id) do update set state = excluded.state, updated_at = excluded.updated_at;
with new as (insert into bench_order.outbox (message_id, order_id, exchange, routing_key, headers, body, created_at)
  select p, k, 'oss.events', 'order_placed', '{}', convert_to(repeat('x', 700), 'UTF8'), now() from unnest(cast(:ids as uuid[]), cast(:placed as uuid[])) as t(k, p) returning id)
  select array_agg(id)::text as outgoing from new \gset
commit;

-- order: its relay
begin;
select pg_advisory_xact_lock(hashtextextended('outbox-relay', 0));
select * from bench_order.outbox where sent_at is null order by id limit 500;
update bench_order.outbox set sent_at = now() where id = any(cast(:outgoing as bigint[]));
commit;
begin;
select pg_advisory_xact_lock(hashtextextended('outbox-relay', 0));
select * from bench_order.outbox where sent_at is null order by id limit 500;
commit;

-- activation: order_placed
begin;
insert into bench_activation.inbox (message_id, received_at) select p, now() from unnest(cast(:placed as uuid[])) as p on conflict do nothing returning message_id;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 2))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_activation.activations where order_id = any(cast(:ids as uuid[]));
insert into bench_activation.activations (order_id, state, customer, address, items, lines, reason, attempts, visit_attempts, next_attempt_at, gives_up, tried, traceparent, created_at, updated_at)
  select k, 'provisioning', '{"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}', '{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}', '[{"product": "internet-500", "quantity": 1}]', '[]', '', 0, 0, now(), false, '[]', repeat('0', 55), now(), now() from unnest(cast(:ids as uuid[])) as k
  on conflict (order_id) do update set state = excluded.state, updated_at = excluded.updated_at;
commit;

-- activation: claim, give ports, VLANs and addresses
begin;
with due as (select order_id from bench_activation.activations where order_id = any(cast(:ids as uuid[])) and state = 'provisioning' and next_attempt_at <= now() and (lease_until is null or lease_until < now()) for update skip locked)
  update bench_activation.activations a set lease_owner = 'bench', lease_until = now() + interval '30 s' from due where a.order_id = due.order_id returning a.*;
select order_id, line, pool, name from bench_activation.resources where order_id = any(cast(:ids as uuid[])) and blocked is null order by line;
select pg_advisory_xact_lock_shared(hashtext('activation inventory'));
select array_agg(pool)::text as pools, array_agg(name)::text as names from (select wanted.pool, free.name from unnest(array['port', 'vlan', 'ip']) as wanted(pool) cross join lateral (
  select name from bench_activation.resources where pool = wanted.pool and order_id is null and blocked is null order by position limit cast(:batch as int) for update skip locked) as free) as found \gset
update bench_activation.resources r set order_id = (cast(:ids as uuid[]))[1 + cast((given.n - 1) % cast(:batch as int) as int)], line = 1
  from unnest(cast(:pools as text[]), cast(:names as text[])) with ordinality as given(pool, name, n) where r.pool = given.pool and r.name = given.name;
commit;

-- activation: keep the snapshots
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 2))) from unnest(cast(:ids as uuid[])) as k;
update bench_activation.activations set lease_until = now() + interval '30 s' where order_id = any(cast(:ids as uuid[])) and lease_owner = 'bench' and lease_until > now() returning order_id, state;
update bench_activation.activations set snapshot = '[{"element": "olt-1", "key": "1/1/1", "content": null}, {"element": "bng-1", "key": "line", "content": null}]' where order_id = any(cast(:ids as uuid[]));
commit;

-- activation: provisioned
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 2))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_activation.activations where order_id = any(cast(:ids as uuid[]));
update bench_activation.activations set lease_until = now() + interval '30 s' where order_id = any(cast(:ids as uuid[])) and lease_owner = 'bench' and lease_until > now() returning order_id, state;
update bench_activation.activations set state = 'provisioned', lines = '[{"product": "internet-500", "element": "olt-1", "port": "1/1/1", "vlan": 100, "ip": "100.64.0.1"}]', updated_at = now() where order_id = any(cast(:ids as uuid[]));
update bench_activation.activations set lease_owner = null, lease_until = null where order_id = any(cast(:ids as uuid[])) and lease_owner = 'bench';
commit;

-- activation: claim for the visit
begin;
with due as (select order_id from bench_activation.activations where order_id = any(cast(:ids as uuid[])) and state = 'provisioned' and next_attempt_at <= now() and (lease_until is null or lease_until < now()) for update skip locked)
  update bench_activation.activations a set lease_owner = 'bench', lease_until = now() + interval '30 s' from due where a.order_id = due.order_id returning a.*;
commit;

-- scheduling: request_visit
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 3))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_scheduling.visits where order_id = any(cast(:ids as uuid[]));
insert into bench_scheduling.visits (order_id, state, customer, address, items, requested_at, calls, missed_calls, revision, cancel_reason, created_at, updated_at)
  select k, 'requested', '{"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}', '{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}', '[{"product": "internet-500", "quantity": 1}]', now(), 0, 0, 0, '', now(), now() from unnest(cast(:ids as uuid[])) as k
  on conflict (order_id) do update set state = excluded.state, updated_at = excluded.updated_at;
commit;

-- activation: the visit is accepted
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 2))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_activation.activations where order_id = any(cast(:ids as uuid[]));
update bench_activation.activations set lease_until = now() + interval '30 s' where order_id = any(cast(:ids as uuid[])) and lease_owner = 'bench' and lease_until > now() returning order_id, state;
update bench_activation.activations set state = 'active', next_attempt_at = null, updated_at = now() where order_id = any(cast(:ids as uuid[]));
with new as (insert into bench_activation.outbox (message_id, order_id, exchange, routing_key, headers, body, created_at)
  select c, k, 'oss.events', 'activation_completed', '{}', convert_to(repeat('x', 700), 'UTF8'), now() from unnest(cast(:ids as uuid[]), cast(:completed as uuid[])) as t(k, c) returning id)
  select array_agg(id)::text as outgoing from new \gset
update bench_activation.activations set lease_owner = null, lease_until = null where order_id = any(cast(:ids as uuid[])) and lease_owner = 'bench';
commit;

-- activation: its relay
begin;
select pg_advisory_xact_lock(hashtextextended('outbox-relay', 0));
select * from bench_activation.outbox where sent_at is null order by id limit 500;
update bench_activation.outbox set sent_at = now() where id = any(cast(:outgoing as bigint[]));
commit;
begin;
select pg_advisory_xact_lock(hashtextextended('outbox-relay', 0));
select * from bench_activation.outbox where sent_at is null order by id limit 500;
commit;

-- order: activation_completed
begin;
insert into bench_order.inbox (message_id, received_at) select c, now() from unnest(cast(:completed as uuid[])) as c on conflict do nothing returning message_id;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 1))) from unnest(cast(:ids as uuid[])) as k;
select * from bench_order.orders where order_id = any(cast(:ids as uuid[]));
update bench_order.orders set state = 'activated', updated_at = now() where order_id = any(cast(:ids as uuid[]));
commit;

-- mypage: order_placed, then activation_completed
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 4))) from unnest(cast(:ids as uuid[])) as k;
insert into bench_mypage.events (event_id, order_id, event_type, occurred_at, payload, schema_version)
  select p, k, 'order_placed', now(), '{"customer": {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}, "address": {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}, "items": [{"product": "internet-500", "quantity": 1}]}', 1 from unnest(cast(:ids as uuid[]), cast(:placed as uuid[])) as t(k, p) on conflict (event_id) do nothing;
select * from bench_mypage.events where order_id = any(cast(:ids as uuid[]));
insert into bench_mypage.pages (order_id, status, customer, address, items, cancel_refused, version, placed_at, updated_at, timeline, phone, waiting_since)
  select k, 'placed', '{"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}', '{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}', '[{"product": "internet-500", "quantity": 1}]', false, 1, now(), now(), '[{"event": "order_placed"}]', '01012345678', now() from unnest(cast(:ids as uuid[])) as k
  on conflict (order_id) do update set status = excluded.status, version = excluded.version, updated_at = excluded.updated_at, timeline = excluded.timeline;
commit;
begin;
select count(pg_advisory_xact_lock(hashtextextended(k::text, 4))) from unnest(cast(:ids as uuid[])) as k;
insert into bench_mypage.events (event_id, order_id, event_type, occurred_at, payload, schema_version)
  select c, k, 'activation_completed', now(), '{"lines": [{"product": "internet-500", "element": "olt-1", "port": "1/1/1", "vlan": 100, "ip": "100.64.0.1"}]}', 1 from unnest(cast(:ids as uuid[]), cast(:completed as uuid[])) as t(k, c) on conflict (event_id) do nothing;
select * from bench_mypage.events where order_id = any(cast(:ids as uuid[]));
insert into bench_mypage.pages (order_id, status, customer, address, items, cancel_refused, version, placed_at, updated_at, timeline, phone, waiting_since)
  select k, 'activated', '{"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}', '{"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}', '[{"product": "internet-500", "quantity": 1}]', false, 2, now(), now(), '[{"event": "order_placed"}, {"event": "activation_completed"}]', '01012345678', now() from unnest(cast(:ids as uuid[])) as k
  on conflict (order_id) do update set status = excluded.status, version = excluded.version, updated_at = excluded.updated_at, timeline = excluded.timeline;
commit;
