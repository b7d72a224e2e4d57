"""What MLflow's own server answers and headway does not, by name: the answer is 501, not a puzzle."""

from __future__ import annotations

_AREAS = {
    "unified-traces": "tracing",
    "get-online-trace-details": "tracing",
    "label-schemas": "label schemas",
    "review-queues": "review queues",
    "scorers": "scorers",
    "scorer": "scorers",
    "gateway": "the AI gateway",
    "prompt-optimization": "prompt optimisation",
    "genai": "GenAI evaluation",
    "jobs": "jobs",
    "demo": "demo data",
    "graphql": "GraphQL",
    "artifacts/presigned-upload-url": "presigned uploads",
    "artifacts/presigned-download-url": "presigned downloads",
}


def name(method: str, path: str) -> str | None:
    """The part of MLflow that a path belongs to; None for a path that isn't MLflow's either."""
    found = _AREAS.get(path) or _AREAS.get(path.partition("/")[0])
    return f"MLflow's {found}" if found and method in ("GET", "POST", "PUT", "PATCH", "DELETE") else None
