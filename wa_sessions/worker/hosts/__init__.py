"""Session hosts: processes that each carry many neonize clients, and the worker's end of them."""
