"""The HTTP client and the order builders that end-to-end tests use."""

from __future__ import annotations

from tools.client import CLOSED, RESULTS, Client, Json, UnexpectedAnswer, an_order, internet, tv

__all__ = ["CLOSED", "RESULTS", "Client", "Json", "UnexpectedAnswer", "an_order", "internet", "tv"]
