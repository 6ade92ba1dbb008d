"""`python -m polyrec`."""

from polyrec.cli.app import main

main()
