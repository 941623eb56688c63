// A client of the order system for Node: it takes events and calls RPC, and knows nothing but docs/asyncapi.yaml.

import { randomUUID } from "node:crypto";
import amqp from "amqplib";
import { Contract } from "./document.js";
import { takeEvents } from "./events.js";
import { Caller } from "./rpc.js";

export { Contract } from "./document.js";
export { decode } from "./events.js";
export * from "./errors.js";

/** Connect to the broker; `document` is the path of asyncapi.yaml. It does not reconnect: `closed` says it is over. */
export async function connect({ url, document, clientId = randomUUID() }) {
  const contract = Contract.read(document);
  const connection = await amqp.connect(url);
  const caller = await Caller.on(connection, contract, clientId);
  return {
    contract,
    closed: new Promise((resolve) => connection.once("close", resolve)),
    call: (method, args, options) => caller.call(method, args, options),
    takeEvents: (options) => takeEvents(connection, contract, clientId, options),
    close: async () => {
      await caller.close();
      await connection.close();
    },
  };
}
