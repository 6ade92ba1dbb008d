"""What a request passes before it reaches the application: keys, limits, origin, overload."""
