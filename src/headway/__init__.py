"""headway: nobody waits. What user code sees; everything is optional."""

__version__ = "0.1.0"
