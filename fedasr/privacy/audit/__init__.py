"""What an attacker's scores prove about ε: pure mathematics of audits, one kind of bound a module."""
