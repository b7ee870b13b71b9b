"""A command that prints what the files that people and programs write may hold."""

import json

import click

from unibench.cli.options import PLUGIN


@click.command("schema")
@click.argument("name", metavar="card|plan|result|SYSTEM")
@PLUGIN
def print_schema(name: str) -> None:
    """Print the JSON Schema of a card, a plan, a result, or the training config of a joint tracker (SYSTEM)."""
    from unibench import schema
    from unibench.errors import UnknownNameError
    from unibench.evaluation.plan_file import Plan
    from unibench.joint import systems
    from unibench.models import cards
    from unibench.results import store

    files = {"card": cards.schema, "plan": lambda: schema.json_schema(Plan), "result": store.result_schema}
    if name in files:
        made = files[name]()
    elif name in systems.SYSTEMS:
        made = schema.json_schema(systems.find(name).config)
    else:
        raise UnknownNameError("schema", name, [*files, *systems.SYSTEMS])
    click.echo(json.dumps(made, indent=1))
