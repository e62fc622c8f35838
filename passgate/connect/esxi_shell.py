"""Ask and change hosts through the ESXi shell."""
