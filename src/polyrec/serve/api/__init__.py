"""The HTTP interface: messages, service, the document of OpenAPI."""
