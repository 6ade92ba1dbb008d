"""What users declare, and the checks between its parts."""
