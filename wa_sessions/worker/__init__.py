"""Sessions: a supervisor, one task for each phone, and one process for each connection to WhatsApp."""
