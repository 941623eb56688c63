// What can be said without a broker.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Contract, DomainError, UnreadableEvent, decode } from "../src/index.js";

const contract = Contract.read(fileURLToPath(new URL("../../../docs/asyncapi.yaml", import.meta.url)));
const closed = {
  event_type: "order_completed", event_id: "0193a000-0000-7000-8000-000000000001", schema_version: 1,
  occurred_at: "2026-11-25T01:00:00Z", order_id: "0193a000-0000-7000-8000-000000000002",
  causation_id: null, traceparent: null, cancel_refused: false,
};
const bytes = (value) => Buffer.from(JSON.stringify(value));

test("every event of the document has a key and a schema", () => {
  const events = contract.events();
  assert.ok(Object.keys(events).length >= 15);
  for (const [type, { key, schema }] of Object.entries(events)) {
    assert.equal(key, type);
    assert.equal(schema.properties.event_type.const, type);
  }
});

test("an event is decoded, with fields that nobody knows yet", () => {
  assert.deepEqual(decode(contract, bytes({ ...closed, added_later: 1 })), { ...closed, added_later: 1 });
});

test("what is no event of the document is refused, and told why", () => {
  const { order_id, ...without } = closed;
  for (const [body, why] of [
    [Buffer.from("{"), /not JSON/],
    [bytes(null), /unknown event_type/],
    [bytes({ ...closed, event_type: "toString" }), /unknown event_type/],
    [bytes({ ...closed, schema_version: 99 }), /schema_version 99, known is 1/],
    [bytes(without), /lacks order_id/],
  ]) {
    assert.throws(() => decode(contract, body), (error) => error instanceof UnreadableEvent && why.test(error.message));
  }
});

test("a method is found with its exchange, key and headers", () => {
  const method = contract.method("mypage.get_order");
  assert.equal(method.key, "mypage.get_order");
  assert.ok(method.exchange.name && method.headers.reply_to && method.publishing.mandatory);
  assert.throws(() => contract.method("mypage.guess"), RangeError);
});

test("a domain error keeps its name, its fields and when to come back", () => {
  const error = new DomainError("Overloaded", contract.errors().Overloaded, ["full", [], "2.0"]);
  assert.deepEqual([error.name, error.status, error.message, error.retryAfterS], ["Overloaded", 503, "full", 2]);
  assert.equal(new DomainError("NotFound", 404, ["none", [], "None"]).retryAfterS, null);
});
