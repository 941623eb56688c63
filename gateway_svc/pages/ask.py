"""Asks services side by side within one deadline, so that a page shows what it knows and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eventlet import GreenPool

from chassis.logging import get_logger
from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.errors import DomainError, Unavailable

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One answer. `missing`: the service could not be asked, or failed; `error`: it answered, but with a refusal."""

    value: Any = None
    missing: bool = False
    error: DomainError | None = None

    @property
    def known(self) -> bool:
        """Whether `value` is an answer."""
        return not self.missing and self.error is None

    def required(self) -> Any:
        """The value of a part without which there is no page: raise its refusal, or Unavailable."""
        if self.error is not None:
            raise self.error
        if self.missing:
            raise Unavailable("a service behind this page does not answer; try again", retry_after_s=5.0)
        return self.value


Question = Callable[[], Any]


def question(client: RpcClient, method: str, timeout_s: float, **arguments: Any) -> Question:
    """A call of `method`, to be made by `together`."""
    return lambda: client.call(method, timeout_s=timeout_s, **arguments)


def ask(asked: Question) -> Part:
    """The answer to one question."""
    try:
        return Part(asked())
    except (CallFailed, RemoteFault) as failure:
        _log.warning("page_part_missing", why=str(failure))
        return Part(missing=True)
    except DomainError as error:
        return Part(missing=True) if error.http_status >= 500 else Part(error=error)


def together(**questions: Question) -> dict[str, Part]:
    """Ask all of them at once; the slowest one's deadline is how long it takes at most."""
    pool = GreenPool(max(1, len(questions)))
    answers = {name: pool.spawn(ask, asked) for name, asked in questions.items()}
    return {name: answer.wait() for name, answer in answers.items()}
