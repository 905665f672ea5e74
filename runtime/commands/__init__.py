"""The sub-commands of `python -m runtime`.

Each is a module of this package that is imported when it is called, with two functions: `add_arguments(parser)` and
`run(arguments)`, which returns the exit status.
"""

COMMANDS = {
    "deidentify": "De-identify a file or a folder as the pipeline does.",
    "explain": "Say what a profile does to an attribute, and why.",
    "links": "Give out time-limited download links to de-identified objects.",
}
"""What each sub-command does; the name is the module's."""
