"""Simulated developers that write real code with a completion service at their side.

Read in this order: `work` (what is written), `person` (who), `desk` (how: keys, editor, plug-in),
`rules` (when a suggestion is accepted), `fleet` (many of them, over real HTTP or in place), `judge` (what
really happened, beside a miner and beside real developers). `steps` is what a developer's flow yields,
`truth` what only the simulator knows, `engines` are stand-ins for a model, `doubles` serve them over HTTP.
`reference/simulated_developer.md` is the specification; section numbers in the docstrings here are its
sections, and the tags [V], [D], [A] are its provenance tags: published, derived from raw data, assumed.
"""
