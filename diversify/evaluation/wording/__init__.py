"""Numbers, names and answers as they are written for people, on every page and in every table."""
