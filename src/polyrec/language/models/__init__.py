"""Files of language models: where they lie, how they are loaded, pooled and unpacked."""
