"""A TV middleware: which subscriber may watch which package. A process of its own, with a small JSON interface.

It knows nothing of orders or services; see README.md.
"""
