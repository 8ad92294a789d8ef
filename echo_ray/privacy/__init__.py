"""What may reach the disk of the experience log, and in which form (paper 6.4, data governance).

`collect.Collector` is the one entry: it applies `levels`, `paths`, `redact` and `pseudonyms` to a record of
the data contract before it is handed to a writer. Pure but for the key file of `pseudonyms`.
"""
