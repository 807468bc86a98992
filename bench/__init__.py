"""The measuring tools of the house: network laboratories out of namespaces, and the rows that gates read.

Nothing here is part of the product and nothing of the product is imported: the programs under test are
started by path, like any user starts them. `python -m bench` is the door; `lab` also carries the tests
with real parts (tests/netns).
"""
