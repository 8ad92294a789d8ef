"""Checks of a target against its context (paper 4.4): one module per kind of fault, pure rules.

A check takes a `Case` and returns a `Finding`: a verdict with the rule and the span it rests on. None of
them needs Ray, torch or a model; `echo_ray.stages.verify` runs them in order and names the `drop`.
"""
