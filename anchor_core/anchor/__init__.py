"""An anchor as a file: card, networks, base parts, and the published folder layout."""
