"""A small, honest simulator of network elements: an own process with a state of its own, reached over a socket.

It knows nothing of orders and imports nothing of ours. See README.md for its protocol.
"""
