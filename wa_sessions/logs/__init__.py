"""Reading the Node backend's logs: what its own lines and those of Baileys and libsignal say about sessions."""
