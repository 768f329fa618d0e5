"""What an operator sees of the hub: figures for Prometheus, one id through logs and traces, spans.

``metrics`` is the table of every figure, ``figures`` keeps them in a process, ``snapshots`` carries them to the web
process, ``observing`` fills them from what has become durable. Nothing here may cost a flow more than microseconds, and
nothing that goes wrong here may stop it.
"""
