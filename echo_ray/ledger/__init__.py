"""The ledger: what became of every request, read back from the folders that the stages left.

Nothing is written on the way: each stage carries every row, with the reason where it was dropped, and its
manifest names its input by fingerprint. `folders` chains the manifests, `rows` finds one request in them,
`accounts` counts everything again and compares, `people` is about the persons behind the rows. Read only,
and without Ray: an answer must not depend on a cluster.
"""
