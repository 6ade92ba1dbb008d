"""Clients of servers that speak OpenAI's protocol."""
