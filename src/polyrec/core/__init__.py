"""Floor 0: specs, batches, errors, files and names, which everything else stands on."""
