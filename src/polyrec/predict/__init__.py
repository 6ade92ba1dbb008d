"""What a trained model answers: predictions, the catalogue, one list for one user."""
