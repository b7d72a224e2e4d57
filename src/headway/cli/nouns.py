"""Every command of `headway`: its name, the module that has it, and the line that the list shows.

A module is imported when its command is called, so that `headway --help` and each single command start at once.
"""

from __future__ import annotations

NOUNS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start headway on this machine and print a sign-in link."),
    "down": ("down", "Stop it: server, endpoints and notebooks. Runs go on."),
    "status": ("status", "Whether it runs, where, and what is in it."),
    "doctor": ("doctor", "Check this machine and its headway; say what to do about each problem."),
    "login": ("login", "Use the headway of another machine."),
    "project": ("project", "Make and list projects."),
    "run": ("run", "Run a notebook or a script, recorded, and follow it."),
    "track": ("track", "Run any program here, recorded as on the platform."),
    "runs": ("runs", "See, follow, cancel, compare and export runs."),
    "schedule": ("schedule", "Run something again and again, by a cron line."),
    "models": ("models", "See models, set aliases, download bundles."),
    "deploy": ("deploy", "Put a model, or the model of a run, behind an endpoint."),
    "endpoints": ("endpoints", "See endpoints and logs, promote, roll back, remove."),
    "predict": ("predict", "Ask an endpoint."),
    "notebook": ("notebook", "Open notebooks."),
    "env": ("env", "The packages that a project's code runs with."),
    "import": ("importing", "Bring runs, models and files over from MLflow."),
    "export": ("exporting", "Write runs, models and files for MLflow to open."),
    "backup": ("backup", "Write everything into one file, while it runs."),
    "restore": ("restoring", "Make a home folder of a backup."),
    "people": ("people", "Who may do what in a project."),
    "token": ("token", "Tokens for programs."),
}
