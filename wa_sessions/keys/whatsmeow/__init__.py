"""The rows of whatsmeow's store, schema version 15."""
