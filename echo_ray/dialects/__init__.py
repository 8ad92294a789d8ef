"""The wire formats of completion clients: bodies in, bodies out. Pure, no web framework.

A dialect is a module with `parse` (a body's JSON value to an `Asked`, or a `Refusal`), `answer` (an
`Answered` to the JSON value of the reply), `error` (a `Refusal` to bytes) and, where clients of it stream,
`chunks`. What they share is in `asked` and `body`; `templated` reads prompts that clients rendered,
`speculative` tells what clients ask ahead of their users, `continue_dev` and `native` read events. Not
covered: who asks beyond what a body says (headers, addresses), which is the gateway's.
"""
