"""What gates share and must not forget: agents, policy revisions, and the list of changes to them.

`port.py` is the contract, `sqlite.py` its implementation over the tables of `tables.py`, `migrations.py` how old
databases become new ones, `open.py` the choice by URL. Every implementation passes tests/contract/test_store.py.
"""
