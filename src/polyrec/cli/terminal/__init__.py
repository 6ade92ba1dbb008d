"""What commands share: options, input tables and what they print."""
