"""``python -m bayescale``: the command without its script."""

from bayescale.cli import main

main()
