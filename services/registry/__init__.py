"""The registry: municipalities, unions of them, people's roles, field endpoints and who owns them."""
