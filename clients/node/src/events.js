// Taking events: a queue of one's own, bound to the wanted types; at least once, so ids are remembered.

import { UnreadableEvent } from "./errors.js";

const REMEMBERED = 10_000;

/** The event in `bytes`. Throws UnreadableEvent where it is none of the document's, or of another version. */
export function decode(contract, bytes) {
  let event;
  try {
    event = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new UnreadableEvent(`not JSON: ${error.message}`);
  }
  const known = contract.events()[event?.event_type];
  if (!known) throw new UnreadableEvent(`unknown event_type ${event?.event_type}`);
  const { properties, required } = known.schema;
  for (const name of required) {
    if (!(name in event)) throw new UnreadableEvent(`${event.event_type} lacks ${name}`);
  }
  const version = properties.schema_version.const;
  if (event.schema_version !== version) {
    throw new UnreadableEvent(`${event.event_type} has schema_version ${event.schema_version}, known is ${version}`);
  }
  return event;
}

/**
 * Calls `handle(event)` once for each event of `types` (all of them where none are named), one after the other.
 * An event is acknowledged when `handle` has ended well, and given back when it throws. `unreadable(error)` is told of
 * the others. Returns a function that ends it.
 */
export async function takeEvents(connection, contract, clientId, { types, handle, unreadable = () => {} }) {
  const channel = await connection.createChannel();
  const { name, options, exchange } = contract.ownQueue("client_events", clientId);
  const known = contract.events();
  await channel.assertExchange(exchange.name, exchange.type, exchange);
  await channel.assertQueue(name, options);
  for (const type of types ?? Object.keys(known)) {
    if (!known[type]) throw new RangeError(`the document has no event ${type}`);
    await channel.bindQueue(name, exchange.name, known[type].key);
  }
  await channel.prefetch(1);
  const seen = new Set();
  const { consumerTag } = await channel.consume(name, async (message) => {
    if (message === null) return; // the queue is gone, and the connection with it
    try {
      const event = decode(contract, message.content);
      if (!seen.has(event.event_id)) await handle(event);
      seen.add(event.event_id);
      if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
    } catch (error) {
      if (!(error instanceof UnreadableEvent)) return channel.nack(message);
      unreadable(error);
    }
    channel.ack(message);
  });
  return async () => {
    await channel.cancel(consumerTag);
    await channel.close();
  };
}
