"""What a server records about itself: metrics, slow requests, served lists."""
