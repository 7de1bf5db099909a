"""One to several Tritons behind HAProxy: how many answers a second more of them give."""
