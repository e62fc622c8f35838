"""Run changes: inventory, plan, gate, apply, confirm, undo, evidence. The only room that knows Prefect."""
