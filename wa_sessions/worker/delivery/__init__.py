"""From a decrypted message to the operator's handler, in processes apart from all keys."""
