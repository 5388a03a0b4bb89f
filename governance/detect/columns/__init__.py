"""What the columns of a table hold: evidence of names and values, and the model that decides."""
