// Reads docs/asyncapi.yaml: the only place from which this client knows exchanges, keys, queues and headers.

import { readFileSync } from "node:fs";
import { parse } from "yaml";

export class Contract {
  #document;

  constructor(document) {
    this.#document = document;
  }

  static read(path) {
    return new Contract(parse(readFileSync(path, "utf8")));
  }

  get release() {
    return this.#document.info.version;
  }

  /** What a value stands for: itself, or where its `$ref` leads. */
  resolve(value) {
    if (!value?.$ref) return value;
    const steps = value.$ref.slice(2).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
    return this.resolve(steps.reduce((found, step) => found?.[step], this.#document));
  }

  channel(name) {
    const channel = this.#document.channels[name];
    if (!channel) throw new RangeError(`the document has no channel ${name}`);
    return channel;
  }

  /** The channel that is this client's own queue: its name filled in, and how it is declared and bound. */
  ownQueue(name, clientId) {
    const { queue, "x-arguments": args, "x-exchange": exchange } = this.channel(name).bindings.amqp;
    return {
      name: queue.name.replace("{client_id}", clientId),
      exchange,
      options: {
        durable: queue.durable, exclusive: queue.exclusive, autoDelete: queue.autoDelete, arguments: args,
      },
    };
  }

  /** The events of the document: by type, the routing key and the schema. */
  events() {
    const own = this.channel("client_events").messages;
    const found = Object.keys(own).map((type) => [type, {
      key: this.channel(type).address,
      schema: this.resolve(this.resolve(own[type]).payload),
    }]);
    return Object.assign(Object.create(null), Object.fromEntries(found)); // nothing inherited is an event
  }

  /** What a call of `service.method` needs. Throws RangeError where there is no such method. */
  method(name) {
    const operation = this.#document.operations[`${name}.answers`];
    if (!operation?.reply) throw new RangeError(`the document has no method ${name}`);
    const channel = this.resolve(operation.channel);
    const request = this.resolve(this.resolve(operation.messages[0]));
    return {
      key: channel.address,
      exchange: channel.bindings.amqp.exchange,
      contentType: request.contentType,
      headers: this.resolve(request.headers).properties,
      publishing: operation.bindings.amqp,
      replies: operation.reply.channel.$ref.split("/").at(-1),
    };
  }

  /** Domain errors by name, with the HTTP status that means the same. */
  errors() {
    const { exc_type: name } = this.#document.components.schemas.rpc_error.properties;
    return Object.assign(Object.create(null), name["x-domain-errors"]);
  }
}
