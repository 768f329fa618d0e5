"""The worker's two processes: the processor brings events to their outcome, the deliverer sends webhooks.

They are two so that neither waits for the other's interpreter lock: together they are most of what the hub computes.
"""
