"""Commands about model cards."""

import click


@click.command()
def models() -> None:
    """List the model cards."""
    from unibench import cards, listing

    listing.show_models([cards.read(path) for path in cards.paths().values()])
