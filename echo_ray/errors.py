"""The errors that callers may rely on.

```
EchoError                        anything this project raises on purpose; the CLI prints it as one sentence
|- ConfigError   (ValueError)    a setting is wrong or unknown; raised before Ray starts
|- SchemaError   (ValueError)    a file or table is not what its schema promises
|- StageError    (RuntimeError)  a stage failed in a worker; carries the stage and the input unit
|- TrainingError (RuntimeError)  non-finite loss, checkpoint or tokenizer mismatch
`- ServeError    (RuntimeError)  the completion service cannot start or answer
```

Bad records are data (a `drop` reason or a quarantine line), never exceptions. A message says what is
wrong, the value got, the value wanted, and the key to change. Errors stay picklable: their only
argument is the message.
"""


class EchoError(Exception):
    """Base of every error that a user can cause; the command line exits with status 2."""


class ConfigError(EchoError, ValueError):
    """A setting is wrong, unknown or inconsistent."""


class SchemaError(EchoError, ValueError):
    """A file, table or model folder lacks what its contract declares."""


class StageError(EchoError, RuntimeError):
    """A stage failed in a worker."""


class TrainingError(EchoError, RuntimeError):
    """Training cannot go on: non-finite loss, mismatched checkpoint or vocabulary."""


class ServeError(EchoError, RuntimeError):
    """The completion service cannot start, or does not answer."""
