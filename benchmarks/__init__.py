"""What the hub does a second, how late, and at what price: measured from outside, as its users meet it.

``python -m benchmarks`` starts a hub (``moneta init``, ``moneta up``), a receiver and a load generator, each in a
process of its own, everything on 127.0.0.1 and everything durable. The words, as in the tables of the results:

- *Half flow*: the client's signature verified, durable, 202, validated, countersigned, durable, the signed webhook
  delivered to the publisher and its 200 recorded.
- *Full flow*: and the publisher signs in its answer, the contract is finalized with a receipt, and both are told: three
  deliveries.
- *Closed loop of n*: n flows are under way; one that ends makes room for the next.
- *Open loop at r*: one contract every 1/r seconds, whatever becomes of those before. Latencies count from the scheduled
  moment, so that a hub that stalls does not hide what it kept waiting.
"""
