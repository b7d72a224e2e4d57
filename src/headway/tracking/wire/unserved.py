"""What MLflow's own server answers and headway does not, by name, with what to do instead: the answer is 501, not a puzzle."""

from __future__ import annotations

from headway.errors import NotServed

_EVALUATE = "Write it in code and pass it to mlflow.genai.evaluate, which logs its results here."
_REVIEW = "Give feedback on a trace's page, or with mlflow.log_feedback."
_REST = "Use the client, or the REST routes that it uses."
_GATEWAY = "Call the provider from your code, or deploy a model as an endpoint here."
_AREAS = {
    "unified-traces": ("Databricks' traces", "Use traces/search."),
    "get-online-trace-details": ("Databricks' traces", "Use traces/get."),
    "label-schemas": ("label schemas", _REVIEW),
    "review-queues": ("review queues", _REVIEW),
    "scorer": ("scorers run by the server", _EVALUATE),
    "gateway": ("the AI gateway", _GATEWAY),
    "gateway-proxy": ("the AI gateway", _GATEWAY),
    "prompt-optimization": ("prompt optimisation jobs", "Run the optimiser in a notebook or script, as a run."),
    "genai": ("GenAI evaluation on the server", _EVALUATE),
    "jobs": ("jobs", "Start a run: headway run PATH."),
    "demo": ("demo data", "Start headway with its sample project."),
    "graphql": ("GraphQL", _REST),
    "mcp-servers": ("the list of MCP servers", _REST),
    "workspaces": ("the making of workspaces", "They are projects: make, change and delete them on headway's pages."),
    "artifacts/presigned-upload-url": ("presigned uploads of Databricks", "Upload through mlflow-artifacts/."),
    "artifacts/presigned-download-url": ("presigned downloads of Databricks", "Use mlflow-artifacts/presigned/<path>."),
}


def refusal(method: str, path: str) -> NotServed | None:
    """The answer for a path of MLflow's that is not served here; None for one that isn't MLflow's either."""
    found = _AREAS.get(path) or _AREAS.get(path.partition("/")[0])
    if found is None or method not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        return None
    return NotServed(f"headway does not serve MLflow's {found[0]} ({method} {path[:200]}).", hint=found[1])
