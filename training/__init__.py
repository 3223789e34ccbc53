"""Fine-tuning on token trees under DeepSpeed ZeRO-3."""
