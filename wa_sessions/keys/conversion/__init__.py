"""From Baileys' auth keys to whatsmeow's rows and back: judging and converting."""
