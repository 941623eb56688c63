// Calling a method: one request, one answer, a deadline, and nothing left behind by a call that ended.

import { randomUUID } from "node:crypto";
import { DeadlineExceeded, DomainError, NotTaken, RemoteFault } from "./errors.js";

export class Caller {
  #contract;
  #channel;
  #clientId;
  #replyKey = randomUUID();
  #waiting = new Map();
  #listening = new Map();

  constructor(contract, channel, clientId) {
    this.#contract = contract;
    this.#channel = channel;
    this.#clientId = clientId;
    channel.on("return", (message) => this.#fail(message.properties.correlationId, "nobody serves it at the moment"));
  }

  static async on(connection, contract, clientId) {
    return new Caller(contract, await connection.createConfirmChannel(), clientId);
  }

  /**
   * The result of `method` ("mypage.get_order") with named arguments. Rejects with DomainError, RemoteFault,
   * DeadlineExceeded or NotTaken, and with RangeError for a method that the document does not have.
   */
  async call(method, args = {}, { timeoutMs = 5000 } = {}) {
    const how = this.#contract.method(method);
    await this.#listen(how.replies);
    const correlationId = randomUUID();
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle(correlationId, (call) => call.reject(new DeadlineExceeded(
          `${method}: no answer within ${timeoutMs} ms`))), timeoutMs);
      this.#waiting.set(correlationId, { method, resolve, reject, timer });
    });
    const values = {
      correlation_id: correlationId, reply_key: this.#replyKey, timeout_ms: timeoutMs, sent_at_ms: Date.now(),
    };
    const body = Buffer.from(JSON.stringify({ args: [], kwargs: args }));
    this.#channel.publish(how.exchange.name, how.key, body, options(how, values), (refused) => {
      if (refused) this.#fail(correlationId, "its queue is full");
    });
    return answer;
  }

  async close() {
    for (const id of this.#waiting.keys()) this.#fail(id, "the client was closed");
    await this.#channel.close();
  }

  async #listen(replies) {
    if (!this.#listening.has(replies)) this.#listening.set(replies, this.#consume(replies));
    return this.#listening.get(replies);
  }

  async #consume(replies) {
    const { name, options: queue, exchange } = this.#contract.ownQueue(replies, this.#clientId);
    await this.#channel.assertExchange(exchange.name, exchange.type, exchange);
    await this.#channel.assertQueue(name, queue);
    await this.#channel.bindQueue(name, exchange.name, this.#replyKey);
    await this.#channel.consume(name, (message) => message && this.#answered(message), { noAck: true });
  }

  #answered(message) {
    const { result, error } = JSON.parse(message.content.toString("utf8"));
    this.#settle(message.properties.correlationId, (call) => {
      if (error === null) return call.resolve(result);
      const status = this.#contract.errors()[error.exc_type];
      call.reject(status === undefined
        ? new RemoteFault(`${call.method}: ${error.exc_type}: ${error.value}`)
        : new DomainError(error.exc_type, status, error.exc_args));
    });
  }

  #fail(correlationId, why) {
    this.#settle(correlationId, (call) => call.reject(new NotTaken(`${call.method}: ${why}`)));
  }

  /** A late answer finds nobody, and is dropped. */
  #settle(correlationId, action) {
    const call = this.#waiting.get(correlationId);
    if (!call) return;
    this.#waiting.delete(correlationId);
    clearTimeout(call.timer);
    action(call);
  }
}

const PROPERTIES = { correlation_id: "correlationId", reply_to: "replyTo", expiration: "expiration" };

/** How the document says that a request is published: its properties and headers, each with its value. */
function options(how, values) {
  const found = {
    contentType: how.contentType, contentEncoding: "utf-8", headers: {},
    mandatory: how.publishing.mandatory, persistent: how.publishing.deliveryMode === 2,
  };
  for (const [name, { "x-value": value, "x-amqp-property": property, type }] of Object.entries(how.headers)) {
    if (value === undefined) continue; // optional, and nothing of ours
    if (!(value in values)) throw new RangeError(`the document wants ${value} in ${name}, which is not known here`);
    const filled = type === "string" ? String(values[value]) : values[value];
    if (property) found[PROPERTIES[property]] = filled;
    else found.headers[name] = filled;
  }
  return found;
}
