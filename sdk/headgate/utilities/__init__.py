"""Small parts that users import by name."""
