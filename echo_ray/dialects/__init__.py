"""The wire formats of completion clients: bodies in, bodies out. Pure, no web framework.

A dialect is a module with `parse` (a body's JSON value to an `Asked`, or a `Refusal`) and `answer` (an
`Answered` to the JSON value of the reply), and where clients of it stream, `chunks`. What they share is in
`asked`. Not covered: who asks beyond what a body says (headers, addresses), which is the gateway's.
"""
