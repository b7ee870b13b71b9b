"""`python -m unibench` is `unibench`."""

from unibench.cli import main

main(prog_name="unibench")
