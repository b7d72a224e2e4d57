"""Moving in and out: stores of MLflow as they lie on disks and behind servers, read, sent to headway, and written.

Runs on the machine of whoever moves, beside the CLI, and knows headway only over HTTP. Nothing here needs MLflow.
"""
