"""A method by its name on a user's rows."""
