"""Speed of Polyrec compared with other libraries, on one machine."""
