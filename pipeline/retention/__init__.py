"""Retention by month, and legal hold: what may go, what must stay, and the signed record of what went."""
