"""Traces: what a call of a model or an agent did, step by step. MLflow's tracing and OpenTelemetry's OTLP, over one store.

A trace is spans (each a step with its inputs, outputs and times), tags, metadata and assessments; it belongs to an experiment.
"""
