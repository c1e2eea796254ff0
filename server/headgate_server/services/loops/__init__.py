"""What the server does by itself, again and again."""
