"""The sub-commands of `imaging-pipeline`.

Each is a module of this package that is imported when it is called, with two functions: `add_arguments(parser)` and
`run(arguments)`, which returns the exit status.
"""

COMMANDS = {
    "deidentify": "De-identify a file or a folder as the pipeline does.",
    "explain": "Say what a profile does to an attribute, and why.",
    "links": "Give out time-limited download links to de-identified objects.",
    "status": "Count verdicts, what waits and what could not be delivered, and name the alarms that ring.",
    "where": "Say what became of an object: its verdict, the reasons, its result and its attempts.",
    "quarantine": "List, show, retry, release and dismiss objects in quarantine.",
    "redrive": "Start failed objects once more.",
    "replay": "Run raw objects again: those that are named, that a filter selects, or all of them.",
    "reconcile": "Compare raw bucket, ledger and processed bucket.",
    "dead-letters": "Count what could not be delivered, and deliver it.",
    "audit": "Answer what auditors ask: verdicts, releases and download links.",
    "schemas": "Write the JSON schemas of the events, the study manifest and the audit records.",
    "completion": "Print the script by which a shell completes commands, options and values.",
}
"""What each sub-command does; its module has the same name, with underscores."""
