"""The command line: `headway NOUN VERB`, a thin layer over the client.

Every command has `--help` with examples and `--json`, which prints one object on standard output and nothing else. Exit status:
0 done, 1 the work failed, 2 the command line itself makes no sense.
"""


def main() -> None:
    """The entry of the `headway` command."""
    from headway.cli.main import run

    run()
