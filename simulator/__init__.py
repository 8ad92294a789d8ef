"""Simulated developers that write real code with a completion service at their side.

Read in this order: `work` (what is written), `typing_model` (how keys come), `assistant` (when the editor
asks), `policy` (when a suggestion is accepted), `desk` and `developer` (all of it on a virtual clock),
`client` and `fleet` (real HTTP to a served model); `oracle`, `witness` and `scores` judge a miner by what
really happened. `reference/simulated_developer.md` is the specification;
section numbers in the docstrings here are its sections, and the tags [V], [D], [A] are its provenance tags:
published, derived from raw data, assumed.
"""
