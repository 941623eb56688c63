// Why there is no result.

/** An error of the service, by its name in the document: `NotFound`, `Conflict`, ... `fields` are those at fault. */
export class DomainError extends Error {
  constructor(name, status, [detail, fields, retryAfter] = []) {
    super(detail || name);
    this.name = name;
    this.status = status;
    this.fields = fields ?? [];
    this.retryAfterS = retryAfter === undefined || retryAfter === "None" ? null : Number(retryAfter);
  }
}

/** The service raised something that is no domain error: a defect there. */
export class RemoteFault extends Error {
  name = "RemoteFault";
}

/** No answer by the deadline. The request may still have taken effect. */
export class DeadlineExceeded extends Error {
  name = "DeadlineExceeded";
}

/** Nothing was accepted: there is no such service at the moment, or its queue is full. */
export class NotTaken extends Error {
  name = "NotTaken";
}

/** Bytes that are no event of this document's. */
export class UnreadableEvent extends Error {
  name = "UnreadableEvent";
}
