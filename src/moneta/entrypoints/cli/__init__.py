"""The command line ``moneta``. ``main`` puts it together; the ``*_commands`` modules say what can be asked.

Those modules import nothing heavy, since every call of ``moneta`` pays for it: what a command does stands in a module
of its own (``hub``, ``reading``, ``party``, ``verification``), imported when the command runs.
"""
