"""``moneta demo``: a hub and two partners, each a process with keys of its own, and 200 contracts between them.

``plan`` says what is played, ``conductor`` starts and stops the processes and watches, ``partner`` is one party's
process, and ``judge`` verifies every chain and receipt with a JOSE library that is not the hub's verifier.
"""
