"""echo_ray: learn from what developers do with the completions they get.

Implements *Echo: Learning from Experience Data via User-Driven Refinement* on Ray.
Importing the package starts nothing.
"""

__version__ = "0.7.0"
