"""A developer and an editor on a virtual clock (sections 3.3 to 3.5).

The classes build on one another, each in a module of its own: `books` (document, clock, draws, what is
written down), `asking` (the completion plug-in), `screen` (looks and decisions), `taking` (accepted text
and its repair), `keyboard` (right keys), `writer` (slips, drafts, detours), `developer` (sessions and items).
"""
