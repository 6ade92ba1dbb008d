"""Speed of Polyrec beside what others would pick instead, on one machine."""
