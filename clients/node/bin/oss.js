#!/usr/bin/env node
// oss events [TYPE...]        one JSON line for each event, until it is stopped
// oss call METHOD [JSON]      the result as JSON; an error as JSON on standard error, and exit code 1
// AMQP_URI names the broker, ASYNCAPI the document, TIMEOUT_MS how long a call may take (5000).

import { fileURLToPath } from "node:url";
import { connect } from "../src/index.js";

const [command, ...rest] = process.argv.slice(2);
if (!["events", "call"].includes(command) || (command === "call" && rest.length === 0)) {
  console.error("usage: oss events [TYPE...] | oss call METHOD [JSON]");
  process.exit(2);
}

const client = await connect({
  url: process.env.AMQP_URI ?? "amqp://127.0.0.1:5672",
  document: process.env.ASYNCAPI ?? fileURLToPath(new URL("../../../docs/asyncapi.yaml", import.meta.url)),
});

if (command === "events") {
  const say = (value) => console.log(JSON.stringify(value));
  const types = rest.length ? rest : undefined;
  await client.takeEvents({ types, handle: say, unreadable: (error) => console.error(error.message) });
  console.error(`listening, by the document of release ${client.contract.release}`);
  process.once("SIGTERM", () => client.close());
  process.once("SIGINT", () => client.close());
  await client.closed;
} else {
  try {
    const timeoutMs = Number(process.env.TIMEOUT_MS ?? 5000);
    console.log(JSON.stringify(await client.call(rest[0], JSON.parse(rest[1] ?? "{}"), { timeoutMs })));
  } catch ({ name, message, status, fields }) {
    console.error(JSON.stringify({ error: name, message, status, fields }));
    process.exitCode = 1;
  }
  await client.close();
}
