"""The auth keys of a Node backend, as Baileys 6.7 and 7 write them."""
