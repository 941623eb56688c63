"""`make bench`: what the whole system does in a second, how long one order takes, and what it costs.

`python -m tools.bench` starts the system (`host`), drives it (`load`, `arrivals`, `streams`), asks the operating system
for the cost (`cost`), measures what broker and database can do at most (`limits`), prints and keeps what it found
(`figures`, `report`, `plot`). `python -m tools.bench.elements` is a bench of its own: one activation on real elements.
"""
