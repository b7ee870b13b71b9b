"""The command that chooses a layer without looking at the clips that it is scored on."""

from pathlib import Path

import click

from unibench.cli.options import OUT, options


@click.command("select")
@options(
    OUT,
    click.option("--splits", type=click.IntRange(1, 100_000), default=100, show_default=True,
                 help="How often the clips are split into halves; each half chooses once and is reported once."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the splits."),
)  # fmt: skip
def select_layer(out: Path, splits: int, seed: int) -> None:
    """Choose each model's layer and scale on one half of the clips, and report the other half, beside the best on test.

    Score several first: run --layers all --scales 0.5,1,2.
    """
    from unibench.cli import tables
    from unibench.report import boards, card_facts, select, stored

    scores = stored.scores(out)
    board = boards.arrange(scores, card_facts.collect(score.model for score in scores), out)
    found = select.compute(board, out, splits=splits, seed=seed)
    tables.show(select.table(board, found))
    tables.show_paths([select.write(board, found, out)])
