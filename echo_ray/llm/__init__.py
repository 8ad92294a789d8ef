"""Language models as teachers and judges (paper 4.3, 4.4): multiple choice, never free text.

A model is only ever asked which of a few numbered answers is right, so it can neither rewrite a user's code
nor be talked into it. The protocol (`echo_ray.chooser`) is pure; backends import their libraries when built.
"""
