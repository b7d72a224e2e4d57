"""The replica: loads one bundle in the model's own environment and answers frames on a UNIX socket.

Standard library only; it uses numpy, pandas, msgspec or orjson where the environment has them, and MLflow only for
models that nothing else can load. `prove` replays the recorded examples before any traffic comes; `serve` answers it.
"""
