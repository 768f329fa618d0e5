"""``python -m moneta``: the command line, where the ``moneta`` script is not on the path."""

from moneta.entrypoints.cli.main import main

if __name__ == "__main__":
    main()
