"""`imaging-pipeline dead-letters`: what the asynchronous edges could not deliver."""

import argparse

from cli import console
from cli.operations.dead_letters import HIDDEN_SECONDS, DeadLetters, Edge
from cli.stage import Stage

_AGAIN = f"run this again in {HIDDEN_SECONDS} seconds."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="how many messages wait in each dead-letter queue")
    console.add_common_arguments(listing)
    replaying = actions.add_parser("replay", help="deliver them to where they were going; mend the reason before")
    console.add_common_arguments(replaying)
    replaying.add_argument(
        "edges",
        nargs="*",
        choices=[edge.value for edge in Edge],
        metavar="EDGE",
        help=f"{', '.join(Edge)}; default: all",
    )


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Count or deliver; 1 if a message is still to be delivered, or may be."""
    dead_letters = DeadLetters(Stage(arguments.stage))
    if arguments.action == "list":
        waiting = [dead_letters.count(edge) for edge in Edge]
        if arguments.json:
            console.print_json(waiting)
        else:
            console.print_table(("EDGE", "MESSAGES", "HIDDEN"), ((w.edge, w.visible, w.hidden) for w in waiting))
        return 0
    replayed = [dead_letters.replay(edge) for edge in map(Edge, arguments.edges or Edge)]
    if arguments.json:
        console.print_json(replayed)
    else:
        rows = ((each.edge, each.sent, each.kept, each.waiting) for each in replayed)
        console.print_table(("EDGE", "SENT", "KEPT", "WAITING"), rows)
    if any(each.waiting for each in replayed):
        console.complain(arguments, f"messages are still waiting: {_AGAIN}")
    elif any(each.unsure for each in replayed):
        console.complain(arguments, f"an answer of SQS may have been lost, and messages with it: {_AGAIN}")
    return 1 if any(each.kept or each.waiting or each.unsure for each in replayed) else 0
