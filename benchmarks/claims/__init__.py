"""What the four guides say, tried: ``make claims`` writes docs/claims.md."""
