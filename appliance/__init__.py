"""The appliance: a userspace WireGuard exit. Python decides here; `crypto_ext` moves the packets.

Imports go downward only (tests/test_layers.py holds the rule): `main` composes everything, `cli` and
`control` speak and decide, `device`, `net`, `store` act, `core` thinks and touches nothing of the machine.
"""

__version__ = "0.1.0"
