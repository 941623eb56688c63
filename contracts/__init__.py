"""What crosses a service boundary: events, RPC payloads, the catalogue and the error types.

This package imports nothing of ours, so that any service, test or client can use it.
"""
