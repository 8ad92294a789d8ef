"""Training: the bundled base model (`pretrain`) and Echo's supervised fine-tuning (`train`)."""
