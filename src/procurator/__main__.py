"""``python -m procurator`` is the command ``procurator``."""

from procurator.cli import main

main()
