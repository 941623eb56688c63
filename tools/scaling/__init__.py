"""`make scaling`: how many orders a second clusters of up to 100 nodes take, by simulation from measured costs.

`costs` are the measured figures, `model` says what an order asks of whom, `placement` puts processes on nodes,
`simulation` lets orders arrive (discrete events, SimPy), `search` finds the most that is sustained and what is full
then, `report` writes it down.
"""
