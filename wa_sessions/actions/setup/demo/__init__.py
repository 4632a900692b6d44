"""The whole story on one machine: a private database, a WhatsApp server on loopback, a real worker, real faults.

Nothing is imported here: the handler's processes, which import this too, are to begin at once.
"""
