"""``python -m downslope``: the command line."""

from downslope.cli import main

if __name__ == "__main__":
    main()
