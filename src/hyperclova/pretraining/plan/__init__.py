"""What a run would need and how long it would take, worked out before it is started."""
