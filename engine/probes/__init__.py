"""Read-only questions to a node. Each returns a typed fact or raises a BasilicaError; none changes anything."""
