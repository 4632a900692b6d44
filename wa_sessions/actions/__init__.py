"""What an operator can do, one module a verb; the command line and the Python API call the same ones."""
