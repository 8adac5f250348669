"""Speed and memory of the model; `README.md` has the tables and their commands."""
