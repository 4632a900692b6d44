"""The events of a phone's history: what is told of each kind, for sentences, alerts and the reference."""
