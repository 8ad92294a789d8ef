"""The experience log: written by `segment`, read by `reader`, shuffled by `partition`, kept by `store`.

`foreign` turns other tools' logs into records (`tabby`, `continue_dev`, `llamacpp`, `recordings`).
"""
