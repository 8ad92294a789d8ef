"""The bundled base model (`pretrain`): from source files to a small model that fills in the middle."""
