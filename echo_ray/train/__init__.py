"""Echo's supervised fine-tuning (`train`): packed samples, DeepSpeed, Ray Train (paper 4.6)."""
