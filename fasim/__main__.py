"""``python -m fasim`` is ``fasim``."""

from fasim.cli import main

main()
