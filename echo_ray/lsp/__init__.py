"""A language server between any editor and a running completion service; needs no Ray and no model."""
